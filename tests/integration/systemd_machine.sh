#!/bin/sh
# Boots systemd, as process 1 of namespaces of its own, on this machine's own files: `systemd_machine.sh WORK SOURCE PYTHON`.
#
# WORK is an empty folder for the overlay (all that is written goes there, in memory), SOURCE the checkout, PYTHON the
# prefix of its interpreter. Needs root. The network is the machine's own, so that tests reach what is served.
set -eu
if [ "${1:-}" != --inside ]; then
    # A cgroup of its own, which the new namespace takes for the root of all.
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$1"
    mkdir "$1/cgroup" "$1/upper" "$1/work" "$1/root"
    mount -t cgroup2 none "$1/cgroup"
    mkdir -p "$1/cgroup/charging-test-$$"
    echo $$ >"$1/cgroup/charging-test-$$/cgroup.procs"
    exec unshare --pid --fork --kill-child --mount --cgroup --ipc --uts "$0" --inside "$@"
fi
WORK=$2 SOURCE=$3 PYTHON=$4 ROOT=$2/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/work" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount -t sysfs -o ro sysfs "$ROOT/sys"
mount -t cgroup2 none "$ROOT/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/run"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
mount --rbind /dev "$ROOT/dev"
# What runs is where an operator has it. /root and /tmp are out of the units' sight.
rm -rf "$ROOT/opt/charging" "$ROOT/opt/python" "$ROOT/etc/charging" "$ROOT/var/lib/charging" "$ROOT/var/backups/charging"
mkdir -p "$ROOT/opt/charging/source" "$ROOT/opt/python"
mount --bind "$SOURCE" "$ROOT/opt/charging/source"
mount --bind "$PYTHON" "$ROOT/opt/python"
# An interpreter built with a library of its own looks for it in its first place, which may be in /root.
echo /opt/python/lib >"$ROOT/etc/ld.so.conf.d/000-python.conf"
chroot "$ROOT" ldconfig
chroot "$ROOT" useradd --system --no-create-home --shell /usr/sbin/nologin charging
cat >"$ROOT/etc/systemd/system/nothing.target" <<UNIT
[Unit]
Description=Nothing but what a test starts
Requires=systemd-journald.service
UNIT
rm -rf "$ROOT/var/log/journal"
export container=other
cd "$ROOT"
mkdir run/before
pivot_root . run/before
umount -l /run/before
mount --make-rshared /  # as systemd does where it boots a whole machine; the units' credentials need it
exec /lib/systemd/systemd --system --unit=nothing.target --log-level=notice --log-target=journal
