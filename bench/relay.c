/* A bare relay, as a yardstick for bench/mirror.py: each connection is passed on to upstream by one thread, and what
 * comes back is sent, then hashed and written to a file. HTTP is not read.
 *
 *     relay PORT FOLDER    (listens on loopback and prints its port; PORT is upstream's port on loopback)
 *     relay PORT           (the same, but nothing is hashed or written) */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 128 << 10 };
static int port, keeps;

static struct sockaddr_in loopback(int number)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(number), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int write_all(int file, const char *data, ssize_t size)
{
    for (ssize_t written; size > 0; data += written, size -= written)
        if ((written = write(file, data, size)) <= 0)
            return -1;
    return 0;
}

static void *pass_on(void *argument)
{
    int one = 1, client = (int)(intptr_t)argument, upstream = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(port);
    char name[32], *piece = malloc(PIECE);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
    snprintf(name, sizeof name, "%d", client);
    int file = keeps ? open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(upstream, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct pollfd both[2] = {{client, POLLIN, 0}, {upstream, POLLIN, 0}};
    int is_over = connect(upstream, (struct sockaddr *)&address, sizeof address);
    while (!is_over && poll(both, 2, -1) > 0)
        for (int i = 0; i < 2 && !is_over; i++) {
            if (!both[i].revents)
                continue;
            ssize_t size = read(both[i].fd, piece, PIECE);
            is_over = size <= 0 || write_all(both[!i].fd, piece, size);
            if (i && keeps && !is_over) {
                EVP_DigestUpdate(hash, piece, size);
                is_over = write_all(file, piece, size);
            }
        }
    EVP_MD_CTX_free(hash);
    free(piece);
    close(file);
    close(upstream);
    close(client);
    return NULL;
}

int main(int count, char **arguments)
{
    keeps = count == 3;
    if ((count != 2 && !keeps) || (keeps && chdir(arguments[2])))
        return 2;
    port = atoi(arguments[1]);
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 64) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        return 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (pthread_t thread;;) {
        int client = accept(listener, NULL, NULL);
        if (pthread_create(&thread, NULL, pass_on, (void *)(intptr_t)client))
            return 1;
        pthread_detach(thread);
    }
}
