"""The first code that runs in dib.pyz: puts what this Python needs into a private cache and runs dib from there.

Extensions in C cannot be imported out of a zip file, so they have to be files. Every file is compared with its sha256
at each start, so that a cache that is damaged or half written is made again. It is as safe as its folder, which must
belong to the user alone, and the folders above it.
Written so that a Python far too old still gets as far as the message.
"""

import sys

OLDEST, NEWEST = (3, 11), (3, 14)
DECODER = "the folder spec/decoder of dib's sources applies bundles with Python 3.10 and zstandard"


def main():
    version = sys.version_info[:2]
    if version < OLDEST:
        fail("dib.pyz needs Python 3.11 or later, this is %d.%d" % version, DECODER)

    import json
    import os
    import zipfile
    from importlib.machinery import EXTENSION_SUFFIXES

    archive = os.path.abspath(sys.path[0])
    with zipfile.ZipFile(archive) as bundle:
        manifest = bundle.read("manifest.json")
        groups = json.loads(manifest)["groups"]
        build = EXTENSION_SUFFIXES[0].split(".")[1]  # such as cpython-313-x86_64-linux-gnu
        if build not in groups:
            known = "CPython 3.%d to 3.%d for Linux on x86-64 and aarch64" % (OLDEST[1], NEWEST[1])
            fail(
                "dib.pyz is for %s, this is %s" % (known, build),
                "pip install . in a checkout of dib, where that works; else " + DECODER,
            )
        platform = build.split("-", 2)[2]
        wanted = {}
        for group in ("common", platform, build):
            for name, digest in groups[group].items():
                wanted[name] = (group, digest)
        folder = find(bundle, wanted, key(manifest) + "-" + build)
    sys.path[0] = folder

    import shlex

    from dibundle.cli.main import run

    run(shlex.join([sys.executable, sys.argv[0]]))


def key(manifest):
    import hashlib

    return hashlib.sha256(manifest).hexdigest()[:16]


def find(bundle, wanted, name):
    """Return a folder with the wanted files: the first place that is private, and that libraries may be loaded from."""
    import os
    import tempfile

    home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):
        home = os.path.join(os.path.expanduser("~"), ".cache")
    places = [os.path.join(home, "dib"), os.path.join(tempfile.gettempdir(), "dib-%d" % os.geteuid())]
    reasons = []
    for place in places:
        try:
            if not os.path.isabs(place):
                raise OSError("not from the top, so what is above it cannot be checked")
            check(place)
            folder = os.path.join(place, name)
            if not good(folder, wanted):
                unpack(bundle, wanted, folder)
            return folder
        except OSError as error:
            reasons.append("%s: %s" % (place, error.strerror or error))
    return fail("no folder to unpack dib.pyz into (%s)" % "; ".join(reasons), "set XDG_CACHE_HOME to a folder of yours")


def check(place):
    """Make a place if it is not there; raise OSError unless it is a folder of this user alone, beneath safe ones."""
    import os
    import stat

    check_above(place)  # before anything is made there
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    try:
        os.mkdir(place, 0o700)
    except FileExistsError:
        pass
    check_above(place)
    found = os.lstat(place)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise OSError("not a folder of this user alone (mode 0700)")
    if os.statvfs(place).f_flag & os.ST_NOEXEC:
        raise OSError("mounted noexec")


def check_above(place):
    """Raise OSError where someone else could put another folder in the place of one that is checked.

    Folders above, and links on the way, each with what it leads to, have to be of this user or root, and writable for
    nobody else, unless they are as /tmp is: there nobody can rename what is another's.
    """
    import os
    import stat

    path, left, links = "/", place.split("/")[::-1], 0  # as the system reads it: a link before ".." is followed
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        path = os.path.dirname(path) if name == ".." else os.path.join(path, name)
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue  # it will be made
        if path == place and not stat.S_ISLNK(found.st_mode):
            continue  # looked at by itself
        if found.st_uid not in (0, os.geteuid()):
            raise OSError("%s belongs to another user" % path)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > 40:
                raise OSError("%s is a link to a link, and so on" % path)
            target = os.readlink(path)
            path = "/" if target.startswith("/") else os.path.dirname(path)
            left += target.split("/")[::-1]
        elif found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
            raise OSError("others may write to %s" % path)


def good(folder, wanted):
    import hashlib
    import os

    try:
        for name, (_, digest) in wanted.items():
            with open(os.path.join(folder, name), "rb") as file:
                if hashlib.sha256(file.read()).hexdigest() != digest:
                    return False
    except OSError:
        return False
    return True


def unpack(bundle, wanted, folder):
    """Write the files beside their place, then move them there whole: another dib may do the same at this moment."""
    import hashlib
    import os
    import shutil
    import tempfile

    partial = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(folder))
    try:
        for name, (group, digest) in wanted.items():
            data = bundle.read(group + "/" + name)
            if hashlib.sha256(data).hexdigest() != digest:
                fail("dib.pyz is damaged: %s" % name, "copy it again")
            path = os.path.join(partial, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        try:
            os.rename(partial, folder)
        except OSError:
            if not good(folder, wanted):  # a damaged one; else another dib was quicker
                os.rename(folder, os.path.join(partial, ".damaged"))
                os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def fail(text, hint):
    sys.stderr.write("dib: error: %s\ndib: hint: %s\n" % (text, hint))
    sys.stderr.flush()
    sys.exit(3)


try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
