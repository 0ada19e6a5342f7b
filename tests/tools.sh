#!/bin/sh
# tools.sh WHY PACKAGE…: installs Debian packages when this user may, else says WHY they matter.
why=$1
shift
missing=""
for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing"
    log=$(mktemp)
    # shellcheck disable=SC2086
    if apt-get update >"$log" 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing \
            >>"$log" 2>&1; then
        rm -f "$log"
        exit 0
    fi
    tail -n 5 "$log" >&2
fi
echo "$why To get them: sudo apt install$missing"
exit 0
