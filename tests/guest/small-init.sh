#!/bin/sh
# The first process of the small test guest; see small.py for what its command line may say.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
while read -r module; do insmod "/lib/modules/$module.ko" 2>/dev/null; done < /lib/modules/order
ip link set lo up
name=guest
for word in $(cat /proc/cmdline); do
  value=${word#*=}
  case $word in
    name=*) name=$value ;;
    address=*)
      ip link set "${value%%:*}" up
      ip address add "${value#*:}" dev "${value%%:*}" ;;
    gateway=*) ip route add default via "$value" ;;
    agent)
      set -- /sys/class/virtio-ports/*
      qemu-ga -m virtio-serial -p "/dev/${1##*/}" -t /run -d -f /run/qemu-ga.pid ;;
    ssh=*)
      mkdir -p /root/.ssh /etc/dropbear /dev/pts
      chmod 700 /root /root/.ssh
      mount -t devpts devpts /dev/pts
      echo "$value" | tr : ' ' > /root/.ssh/authorized_keys
      dropbear -R -E -s ;;
    forward) echo 1 > /proc/sys/net/ipv4/ip_forward ;;
    web)
      hostname "$name"
      echo "$name" > /www/index.html
      httpd -h /www ;;
  esac
done
hostname "$name"
echo "guest $name is up"
while true; do setsid cttyhack sh; done
