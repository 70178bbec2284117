#!/bin/busybox sh
# The first process of the machine: modules, the host's files below a layer of memory, then the tests.
b=/bin/busybox
$b mkdir -p /proc /sys /dev /lower /rw /new
$b mount -t proc proc /proc && $b mount -t sysfs sys /sys && $b mount -t devtmpfs dev /dev
for m in /modules/*.ko; do $b insmod $m; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /lower
$b mount -t tmpfs -o size=2g rw /rw && $b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work over /new
for d in proc sys dev; do $b mkdir -p /new/$d && $b mount --move /$d /new/$d; done
$b mkdir -p /new/dev/shm /new/tmp
$b mount -t tmpfs shm /new/dev/shm && $b mount -t tmpfs tmp /new/tmp && $b cp /job.sh /new/tmp/job.sh
$b mount -t cgroup2 cgroup /new/sys/fs/cgroup && $b mount -t securityfs security /new/sys/kernel/security
$b ip link set lo up
exec $b switch_root /new /bin/sh -c "sh /tmp/job.sh; $b poweroff -f"
