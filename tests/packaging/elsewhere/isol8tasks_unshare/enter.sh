# The first process of a sandbox, root of its own namespaces: builds the root and runs a program.
# $0 unshare · $1 uid · $2 working directory · then the program · in a folder with `sandbox` in it
path=$PATH
PATH=/usr/sbin:/usr/bin:/sbin:/bin
unset PWD OLDPWD
uid=$1 workdir=$2
shift 2

mount -t tmpfs root /tmp
mkdir /tmp/dev /tmp/proc /tmp/sandbox /tmp/tmp
for name in bin etc lib lib32 lib64 libx32 sbin usr; do
    if [ -L "/$name" ]; then
        cp -P "/$name" /tmp
    elif [ -d "/$name" ]; then
        mkdir "/tmp/$name"
        mount --rbind "/$name" "/tmp/$name"
    fi
done
for name in full null random urandom zero; do
    : >"/tmp/dev/$name"
    mount --bind "/dev/$name" "/tmp/dev/$name"
done
ln -s /proc/self/fd /tmp/dev/fd
mount -t proc proc /tmp/proc
mount -c --bind sandbox /tmp/sandbox # -c: the names above it may be out of our reach
mount -t tmpfs tmp /tmp/tmp
mount -o remount,bind,ro /tmp

: >started
PATH=$path
"$0" --user --map-user="$uid" --map-group="$uid" --root=/tmp --wd="/sandbox/$workdir" -- "$@"
