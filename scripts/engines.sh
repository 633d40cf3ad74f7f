#!/usr/bin/env bash
# Docker, Podman and rootless Podman on Debian 12 or later, with an image for the tests that needs no registry,
# and the programs that the tests run in sandboxes.
# As root: installs, configures and starts what is missing; quick where nothing is.
#
#   scripts/engines.sh            get everything ready
#   scripts/engines.sh --images   print the value for ISOL8TASKS_IMAGES, nothing where the image is missing
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
image=localhost/isol8tasks-base:1
label=org.isol8tasks.names # on the image: the names that it can stand for
user=isol8tasks            # runs rootless Podman, and the tests that need no root
socket=/var/run/docker.sock
docker_log=/var/log/isol8tasks-dockerd.log
image_packages=(apt bash ca-certificates coreutils curl git procps python3 python3-pip python3-venv)
test_packages=(busybox-static gcc libc6-dev libseccomp2 make perl)

say() { printf 'engines: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

install_missing() {
  local need=() program
  for program in $(programs); do
    command -v "${program%%:*}" >/dev/null || need+=("${program#*:}")
  done
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${image_packages[@]}" "${test_packages[@]}" 2>/dev/null || true)
  for program in "${image_packages[@]}" "${test_packages[@]}"; do
    grep -qx "installed $program" <<<"$installed" || need+=("$program")
  done
  [ ${#need[@]} -gt 0 ] || return 0
  say "installing ${need[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local apt=(apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120)
  "${apt[@]}" update
  mask_sshd
  "${apt[@]}" install -y --no-install-recommends "${need[@]}" >/dev/null
}

# The tests start an sshd of their own, on loopback; the machine is to get none by that.
mask_sshd() {
  command -v sshd >/dev/null && return
  local unit
  mkdir -p /etc/systemd/system
  for unit in ssh.service ssh.socket; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
  done
  say "sshd is for the tests only: 'systemctl unmask ssh.service ssh.socket' would let it run"
}

# PROGRAM:PACKAGE; a program may also come from elsewhere, Docker's own packages for instance
programs() {
  echo dockerd:docker.io iptables:iptables podman:podman runc:runc catatonit:catatonit
  echo newuidmap:uidmap slirp4netns:slirp4netns setpriv:util-linux node:nodejs npm:npm
  echo runsc:runsc sshd:openssh-server ssh:openssh-client
  if [ "$(. /etc/os-release && echo "${VERSION_ID:-99}")" -ge 13 ]; then
    echo docker:docker-cli pasta:passt nft:nftables
  fi
}

# Podman asks for more than a machine may allow: its limits are capped to the hard ones. crun refuses
# hosts with both versions of control groups.
configure_podman() {
  local file=/etc/containers/containers.conf files processes most
  [ ! -e "$file" ] || return 0
  files=$(ulimit -Hn) processes=$(ulimit -Hu) most=$(cat /proc/sys/kernel/pid_max)
  [ "$files" != unlimited ] || files=1048576
  [ "$processes" != unlimited ] && [ "$processes" -lt "$most" ] || processes=$most
  say "writing $file"
  mkdir -p "${file%/*}"
  cat >"$file" <<EOF
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=$processes:$processes"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
EOF
}

docker_answers() { curl -fs -o /dev/null -m 2 --unix-socket "$socket" http://docker/_ping; }

start_docker() {
  docker_answers && return
  local pid tries
  pid=$(cat /var/run/docker.pid 2>/dev/null || true)
  if ! is_dockerd "$pid"; then
    rm -f /var/run/docker.pid # left by one that was killed: dockerd would refuse to start
    launch_docker
    pid=$!
  fi
  for ((tries = 0; tries < 300; tries++)); do
    docker_answers && return
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$docker_log" >&2 || true
  fail "dockerd does not answer on $socket"
}

launch_docker() {
  local options=() mtu
  mtu=$(route_mtu)
  [ "${mtu:-1500}" -ge 1500 ] || options=(--mtu "$mtu")
  say "starting dockerd, its log is $docker_log"
  setsid dockerd -H "unix://$socket" "${options[@]}" </dev/null >"$docker_log" 2>&1 9>&- &
}

is_dockerd() { [ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = dockerd ]; }

# of the interface of the default route; a bare machine has no `ip`
route_mtu() {
  local interface
  interface=$(awk '$2 == "00000000" { print $1; exit }' /proc/net/route)
  [ -z "$interface" ] || cat "/sys/class/net/$interface/mtu" 2>/dev/null || true
}

# The group docker is as good as root: the account has no password and runs only tests.
make_user() {
  id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
  id -nG "$user" | grep -qw docker || usermod -aG docker "$user"
  grep -q "^$user:" /etc/subuid || usermod --add-subuids "$(free_range /etc/subuid)" "$user"
  grep -q "^$user:" /etc/subgid || usermod --add-subgids "$(free_range /etc/subgid)" "$user"
  home=$(getent passwd "$user" | cut -d: -f6) runtime=/run/user/$(id -u "$user")
  mkdir -p /run/user
  install -d -m 700 -o "$user" -g "$user" "$runtime"
  local storage=$home/.config/containers/storage.conf
  if [ ! -e "$storage" ]; then # the default may be a full copy per container
    install -d -o "$user" -g "$user" "$home/.config" "${storage%/*}"
    printf '[storage]\ndriver = "overlay"\n' >"$storage"
  fi
}

free_range() {
  touch "$1"
  awk -F: '$2 + $3 > first { first = $2 + $3 } END { print first "-" first + 65535 }' first=100000 "$1"
}

# the network of a rootless container
open_tun() {
  [ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod /dev/net/tun c 10 200; }
  chmod 666 /dev/net/tun
}

rootless() {
  (cd / && exec setpriv --reuid "$user" --regid "$user" --init-groups \
    env -i PATH="$PATH" HOME="$home" XDG_RUNTIME_DIR="$runtime" podman "$@" 9>&-)
}

make_image() {
  local missing=() engine
  for engine in docker podman rootless; do
    "$engine" image inspect "$image" >/dev/null 2>&1 || missing+=("$engine")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "making $image for ${missing[*]}"
  scratch=$(mktemp -d /var/tmp/isol8tasks-base-XXXXXX)
  trap 'rm -rf "$scratch"' EXIT
  /usr/bin/python3 "$here/base_image.py" "${image_packages[@]}" >"$scratch/tar"
  local names imports=()
  names=$(image_names)
  for engine in "${missing[@]}"; do
    import_image "$engine" "$names" "$scratch" &
    imports+=($!)
  done
  for engine in "${imports[@]}"; do
    wait "$engine" || fail "$image was not imported"
  done
}

import_image() {
  "$1" import --change "LABEL $label=$2" - "$image" <"$3/tar" >"$3/$1" 2>&1 || { cat "$3/$1" >&2 && return 1; }
}

image_names() {
  local python node
  python=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  node=$(node -p 'process.versions.node.split(".")[0]')
  echo "python,python:${python%.*},python:$python,node,node:$node,bash"
}

print_images() {
  local names engine
  for engine in docker podman; do
    names=$("$engine" image inspect -f "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null) || continue
    sed -E "s#([^,]+)#\1=$image#g" <<<"$names"
    return
  done
}

case ${1:-} in
--images) print_images; exit ;;
'') ;;
*) fail "unknown argument: $1" ;;
esac
[ "$(id -u)" = 0 ] || fail "needs root"
[ "$(. /etc/os-release && echo "$ID")" = debian ] || fail "knows only Debian"
exec 9>/run/isol8tasks-engines.lock
flock 9
PATH=$PATH:/usr/sbin:/sbin
install_missing
configure_podman
start_docker
make_user
open_tun
make_image
say "Docker, Podman and the user $user's rootless Podman are ready"
