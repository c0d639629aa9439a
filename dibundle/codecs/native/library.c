/* Loading and memory. */
#if defined(__linux__)
#define _DEFAULT_SOURCE /* madvise */
#include <sys/mman.h>
#endif
#include "dib.h"
#include "model.h"

/* Fill all tables; call this once, before any other function. Return a number that identifies the header file with
 * which the library was built. */
int64_t dib_open(void)
{
    model_fill_tables();
    return DIB_HEADER;
}

#define LARGE_PAGE (2 << 20)

/* Ask the system for pages of 2 MiB for this unwritten memory, as many as fit completely into it. */
void dib_take_large_pages(uint8_t *memory, int64_t size)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    int64_t before = (int64_t)(-(uintptr_t)memory & (LARGE_PAGE - 1));
    if (size - before >= LARGE_PAGE)
        (void)madvise(memory + before, (size_t)(size - before) & ~(size_t)(LARGE_PAGE - 1), MADV_HUGEPAGE);
#else
    (void)memory, (void)size;
#endif
}
