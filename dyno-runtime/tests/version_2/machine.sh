#!/bin/sh
# Runs a static program as root in a small virtual machine with cgroup version 2 under software emulation, and shows what
# it prints. usage: machine.sh DIRECTORY PROGRAM
# Kernel, emulator and shell are Debian packages, downloaded and unpacked into DIRECTORY and not installed: installing
# qemu-system-x86 would remove other packages. 77: they cannot be had.
set -eu
mkdir -p "$1"
cd "$1"

get() {
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo "there is no apt-get"; exit 77; }
    rm -rf debs root && mkdir debs root && cd debs
    kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
    [ -n "$kernel" ] || apt-get -o DPkg::Lock::Timeout=120 update >log 2>&1 || true
    kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
    [ -n "$kernel" ] || { echo "apt knows no kernel (linux-image-cloud-amd64)"; exit 77; }
    want="$kernel qemu-system-x86 qemu-system-data qemu-system-common seabios busybox-static"
    # And what the emulator links against and this machine does not have.
    no="--no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances"
    for library in $(apt-cache depends --recurse $no qemu-system-x86 | grep '^lib' | sort -u); do
        dpkg-query -W -f='${Status}' "$library" 2>/dev/null | grep -q '^install ok installed' || want="$want $library"
    done
    # A name in that list may be one that no package has.
    for package in $want; do
        apt-get -o APT::Sandbox::User=root download "$package" >>log 2>&1 || true
    done
    for package in *.deb; do dpkg -x "$package" ../root; done
    cd ..
    [ -x root/usr/bin/qemu-system-x86_64 ] && [ -x root/bin/busybox ] && ls root/boot/vmlinuz-* >/dev/null 2>&1 ||
        { tail -n 3 debs/log; echo "the packages cannot be downloaded"; exit 77; }
    rm -rf debs
    touch complete
}
[ -e complete ] || get

rm -rf system && mkdir -p system/bin system/proc system/sys system/dev system/tmp
cp root/bin/busybox system/bin/
cp "$2" system/guest
cat >system/init <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
export PATH=/bin HOME=/
/guest
echo o > /proc/sysrq-trigger
sleep 60
INIT
chmod +x system/init
(cd system && find . | ../root/bin/busybox cpio -o -H newc 2>/dev/null) >initramfs

LD_LIBRARY_PATH="$PWD/root/usr/lib/x86_64-linux-gnu:$PWD/root/lib/x86_64-linux-gnu" exec timeout 300 \
    root/usr/bin/qemu-system-x86_64 -L root/usr/share/qemu -L root/usr/share/seabios \
    -accel tcg,thread=multi -cpu max -smp 2 -m 512 -nodefaults -display none -no-reboot -serial stdio \
    -kernel root/boot/vmlinuz-* -initrd initramfs -append "console=ttyS0 quiet panic=-1"
