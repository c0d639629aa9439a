#!/bin/bash
# Run dib.pyz in a Python that is linked with musl, which is built of Debian's sources for that (3 minutes).
#
#     pyz/musl.sh x86_64|aarch64 DIB.PYZ OLD.tar BUNDLE > NEW.tar
#
# As root on Debian 13, whose sources are fetched by apt-get. Of aarch64 an emulator runs it.
set -euo pipefail
machine=$1 pyz=$(realpath "$2") old=$(realpath "$3") bundle=$(realpath "$4")
host=$machine-linux-musl
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exec 3>&1 1>&2

arch=$(case $machine in x86_64) echo amd64 ;; aarch64) echo arm64 ;; esac)
sed 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources > /etc/apt/sources.list.d/dib-src.sources
dpkg --add-architecture arm64
apt-get -q update
apt-get -q install -y --no-install-recommends musl-tools musl-dev gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
    linux-libc-dev libc6-dev make autoconf automake libtool libltdl-dev pkgconf dpkg-dev qemu-user
cd "$work"
apt-get -q source --download-only python3.13 zlib libffi xz-utils || true  # the archives of Debian's own part may be newer
apt-get -q download "musl:$arch" "musl-dev:$arch"
for file in ./*.orig.tar.*z; do tar xf "$file"; done
for file in ./*.deb; do dpkg -x "$file" musl; done

# A compiler for musl: Debian's with musl's headers and libraries, and the kernel's headers behind them
mkdir kernel
cp -rL /usr/include/x86_64-linux-gnu/asm /usr/include/asm-generic /usr/include/linux kernel/
compiler="gcc"
if [ "$machine" = aarch64 ]; then
    compiler="aarch64-linux-gnu-gcc -mno-outline-atomics"
    rm -r kernel/asm && cp -rL /usr/aarch64-linux-gnu/include/asm kernel/
fi
sed "s#/usr/\(include\|lib\)/x86_64-linux-musl#$work/musl/usr/\1/$host#g; s#ld-musl-x86_64#ld-musl-$machine#" \
    /usr/lib/x86_64-linux-musl/musl-gcc.specs > specs
cat > cc << EOF
#!/bin/sh
[ "\$1" = --print-multiarch ] && { echo $host; exit; }
exec $compiler -specs $work/specs -idirafter $work/kernel "\$@"
EOF
chmod +x cc
export CC=$work/cc CFLAGS="-O1 -fPIC" PKG_CONFIG_LIBDIR=$work/lib/pkgconfig
mkdir lib && ar rcs lib/libatomic.a  # what is in libatomic, no processor here needs; Debian's wants glibc

(cd zlib-*/ && ./configure --static --prefix="$work" && make -s -j2 install) > zlib.log
(cd libffi-*/ && autoreconf -fi && ./configure --host="$host" --prefix="$work" --disable-shared --disable-docs && make -s -j2 install) > libffi.log
(cd xz-*/ && ./configure --host="$host" --prefix="$work" --disable-{shared,nls,doc,scripts,xz,xzdec,lzmadec,lzmainfo} && make -s -j2 install) > xz.log
(
    cd Python-*/
    ./configure --build=x86_64-linux-gnu --host="$host" --with-build-python=/usr/bin/python3 --prefix=/usr \
        --with-ensurepip=no --disable-test-modules --disable-ipv6 ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no \
        CFLAGS=-O1 CPPFLAGS="-I$work/include" LDFLAGS="-L$work/lib"
    make -j2 && make install DESTDIR="$work/root"
) > python.log

mkdir -p root/{lib,tmp,var/tmp,root}
cp -L "musl/usr/lib/$host/libc.so" "root/lib/ld-musl-$machine.so.1"
cp "$pyz" root/dib.pyz
cp "$old" root/old
cp "$bundle" root/bundle
emulator=()
[ "$machine" = x86_64 ] || { cp /usr/bin/qemu-aarch64 root/usr/bin/ && emulator=(/usr/bin/qemu-aarch64); }
dib() { env -i HOME=/root PATH=/usr/bin "$(command -v chroot)" root "${emulator[@]}" /usr/bin/python3.13 -I -S /dib.pyz "$@"; }
dib doctor
dib apply /old /bundle >&3
