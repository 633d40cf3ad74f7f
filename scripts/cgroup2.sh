#!/usr/bin/env bash
# The tests of the embedded backend where control groups are of version 2: on Debian 13 with systemd, in a virtual
# machine without network. As root on Debian: installs QEMU and debootstrap, needs no KVM, 6 GB of disk, 4 GB of memory
# and about 20 minutes. The tests run as root in a service, as an ordinary user, and each in a delegated scope.
#
#   scripts/cgroup2.sh [words for pytest]
set -euo pipefail

here=$(dirname "$(dirname "$(readlink -f "$0")")")
suite=trixie
python=3.13 # of that suite
packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,python3,python3-venv,linux-image-amd64,procps,nodejs
packages+=,busybox-static,curl,gcc,git,libc6-dev,libseccomp2,make,perl
tests=(tests/security tests/unit/bubblewrap tests/cli/test_hostile.py)
# what needs a network or much time, and what a slow processor fails
less="not docker and not podman and not bake_network and not npm and not node_of_the_host and not properties"
less+=" and not test_cpus and not modest_program"
words=(-q -p no:cacheprovider -n2 -k "$less" "${@:-${tests[@]}}")

command -v qemu-system-x86_64 >/dev/null && command -v debootstrap >/dev/null || {
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends qemu-system-x86 debootstrap >/dev/null
}

work=$(mktemp -d /var/tmp/isol8tasks-vm-XXXXXX)
trap 'rm -rf "$work"' EXIT
root=$work/root

debootstrap --variant=minbase --include="$packages" "$suite" "$root" >"$work/debootstrap.log" || {
  tail "$work/debootstrap.log" && exit 1
}
python3 -m venv "$work/tools"
"$work/tools/bin/pip" install -q --upgrade 'pip>=25.1'
"$work/tools/bin/pip" wheel -q --no-deps -w "$root/opt/wheels" "$here"
(cd "$here" && "$work/tools/bin/pip" download -q --python-version "$python" --only-binary=:all: -d "$root/opt/wheels" \
  "$root"/opt/wheels/isol8tasks-*.whl --group test)
chroot "$root" sh -c 'python3 -m venv /opt/venv && useradd -m -u 1000 tester &&
  /opt/venv/bin/pip install -q --no-index --find-links /opt/wheels /opt/wheels/*.whl'
mkdir -p "$root/opt/src" "$root/var/lib/systemd/linger"
touch "$root/var/lib/systemd/linger/tester"
(cd "$here" && cp -r tests examples backends isol8tasks pyproject.toml "$root/opt/src/")
sed -i 's/^LONGEST = .*/LONGEST = 900.0/' "$root/opt/src/tests/cli/test_hostile.py" # seconds: all is slow here
chroot "$root" chown -R tester /opt/src
printf '%q ' "${words[@]}" >"$root/opt/words"

cat >"$root/opt/run" <<'END'
#!/bin/bash
exec >/opt/log 2>&1
cd /opt/src
export PATH=/opt/venv/bin:/usr/sbin:/usr/bin:/bin LANG=C.UTF-8
eval "words=($(cat /opt/words))"
as_user() { # with a session of its own, which systemd makes in its own time
  until [ -S /run/user/1000/bus ]; do sleep 1; done
  runuser -u tester -- env -i PATH="$PATH" LANG="$LANG" HOME=/home/tester XDG_RUNTIME_DIR=/run/user/1000 "$@"
}
echo "== $(uname -r), $(systemctl --version | head -n 1), root"
isol8tasks doctor
python -m pytest "${words[@]}"; root=$?
echo "== an ordinary user"
as_user isol8tasks doctor
as_user python -m pytest "${words[@]}" -m "bubblewrap and not root"; user=$?
find /sys/fs/cgroup -name 'isol8tasks-*'
echo "ended: $root $user"
sync
END
chmod +x "$root/opt/run"
cat >"$root/etc/systemd/system/run.service" <<'END'
[Service]
Type=oneshot
ExecStart=/opt/run
ExecStopPost=systemctl poweroff
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
END
chroot "$root" systemctl -q enable run.service
echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"

truncate -s 6G "$work/disk"
mke2fs -q -t ext4 -d "$root" "$work/disk"
qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 4096 -display none -monitor none -nic none -no-reboot \
  -kernel "$root"/boot/vmlinuz-* -initrd "$root"/boot/initrd.img-* -append "root=/dev/vda rw console=ttyS0 quiet" \
  -drive file="$work/disk",format=raw,if=virtio -serial "file:$work/console" </dev/null
debugfs -R 'cat /opt/log' "$work/disk" 2>/dev/null | tee "$work/log"
grep -qx 'ended: 0 0' "$work/log"
