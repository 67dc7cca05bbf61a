#!/bin/sh
# Builds deploy/Dockerfile without a Docker engine and runs the main job against what came of it.
#
# It proves the steps of the Dockerfile and the process of the image, not the published base image: the base is
# made by debootstrap. It needs root, Debian's buildah, debootstrap and util-linux, and a network to install from.
#
#   deploy/prove.sh [FOLDER]     FOLDER: a Debian with python3, python3-venv and ca-certificates, made before
set -eu
repository=$(cd "$(dirname "$0")/.." && pwd)
suite=trixie
work=$(mktemp -d "${TMPDIR:-/tmp}/usersvc-prove.XXXXXX")
engine="buildah --root $work/storage --runroot $work/run --storage-driver vfs"
server=

leave() {
    test -z "$server" || kill -KILL "$server" 2>/dev/null || true
    $engine umount --all >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 1' INT TERM

say() { printf '%s\n' "$*"; }
since() { echo "$(($(date +%s) - $1)) s"; }
megabytes() { echo "$(du --summarize --block-size=1000000 --one-file-system "$1" | cut -f 1) MB"; }
of_image() { $engine inspect --type image --format "{{$1}}" usersvc; }

say "$(date --utc +%F), $($engine --version), Linux $(uname -r)"

# --- the base

began=$(date +%s)
folder=${1:-$work/base}
test -n "${1:-}" || debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
    "$suite" "$folder" >"$work/debootstrap.log"
base=$($engine from scratch)
$engine copy --quiet "$base" "$folder" / >/dev/null
# The network of this machine may have a certificate authority of its own.
if test -f /etc/ssl/certs/ca-certificates.crt; then
    $engine copy --quiet "$base" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ >/dev/null
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$work/pip.conf"
    $engine copy --quiet "$base" "$work/pip.conf" /etc/pip.conf >/dev/null
fi
$engine commit --quiet "$base" usersvc-base >/dev/null
say "base: Debian $(cat "$folder/etc/debian_version"), $(chroot "$folder" python3 --version)," \
    "$(megabytes "$folder"), $(since "$began")"

# --- the image

began=$(date +%s)
$engine build --quiet --isolation chroot --format docker --build-arg BASE=localhost/usersvc-base \
    ${PIP_INDEX_URL:+--build-arg PIP_INDEX_URL="$PIP_INDEX_URL"} \
    --file "$repository/deploy/Dockerfile" --tag usersvc "$repository" >"$work/build.log" 2>&1 ||
    { cat "$work/build.log"; exit 1; }
root=$($engine mount "$($engine from usersvc)")
say "image: built in $(since "$began"), $(megabytes "$root"), of it $(megabytes "$root/opt/usersvc") usersvc and" \
    "its packages"
for unwanted in usr/bin/gcc usr/bin/cc usr/bin/curl opt/build src root/.cache opt/usersvc/bin/pip; do
    test ! -e "$root/$unwanted" || { say "there is a $unwanted in the image"; exit 1; }
done
say "image: no compiler, no curl, no pip, no cache"
test "$(of_image .Docker.Config.User)" = 10001:10001
test "$(of_image .Docker.Config.Entrypoint) $(of_image .Docker.Config.Cmd)" = "[usersvc] [serve --host 0.0.0.0]"

# --- its process: alone in its namespaces as process 1, no capability, nothing to write but /data

as_in_the_image="setpriv --reuid=10001 --regid=10001 --clear-groups --bounding-set=-all --no-new-privs"
environment="/usr/bin/env --ignore-environment HOME=/data PATH=/opt/usersvc/bin:/usr/bin:/bin"
for variable in $(of_image 'range .Docker.Config.Env}}{{.}} {{end' | tr ' ' '\n' | grep -v '^PATH='); do
    environment="$environment $variable"
done
mkdir "$work/data"
cp -a "$root/data/." "$work/data/"
chown --reference="$root/data" "$work/data"
chmod --reference="$root/data" "$work/data"
cat >"$work/start" <<'START'
set -eu
ip link set lo up 2>/dev/null || ifconfig lo up
mount --bind "$1" "$1"
mount --bind "$2" "$1/data"
mount -t proc proc "$1/proc"
mount -o remount,ro,bind "$1"
root=$1
shift 2
cd "$root"
exec chroot "$root" "$@"
START
began=$(date +%s%N)
# shellcheck disable=SC2086  # the words of the commands are meant to fall apart
unshare --mount --pid --fork --kill-child --net --ipc --uts sh "$work/start" "$root" "$work/data" \
    $as_in_the_image $environment sh -c 'cd /data && exec usersvc serve --host 0.0.0.0' >"$work/log" 2>&1 &
server=$!

inside() {
    # Process 1 of the namespaces is the child of unshare.
    first=$(tr -d ' ' <"/proc/$server/task/$server/children")
    # shellcheck disable=SC2086
    nsenter --target "$first" --mount --pid --net --ipc --uts chroot "$root" $as_in_the_image $environment "$@"
}

fail() {
    say "$1"
    cat "$work/log"
    exit 1
}

health="from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"
of_image '.Docker.Config.Healthcheck.Test' | grep --fixed-strings --quiet "$health" || fail "another HEALTHCHECK"
tries=0
until inside python3 -c "$health" 2>/dev/null; do
    tries=$((tries + 1))
    test "$tries" -lt 100 || fail "HEALTHCHECK never succeeded"
    sleep 0.2
done
say "process: HEALTHCHECK well after $((($(date +%s%N) - began) / 1000000)) ms, read-only but for /data"

for place in / /tmp /etc /opt/usersvc /var/tmp; do
    ! inside touch "$place/written" 2>/dev/null || fail "$place can be written"
done
inside sh -c 'id -u; cat /proc/1/comm; grep CapEff /proc/1/status' | tr '\n' ' '
say

printf 'zebra quilt 41 lamp\n' | inside usersvc create-admin root@example.org --password-stdin >/dev/null 2>&1 ||
    fail "create-admin"
say "job: create-admin by a second process in the container"
inside python3 - <<'JOB' || fail "the main job"
import glob, json, re, time, urllib.request

def ask(path, body=None, token=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:8000/api/v1{path}", data, headers)) as answer:
        return answer.status, json.load(answer)["data"]

began = time.monotonic()
ada = {"email": "ada@example.org", "password": "zebra quilt 42 lamp"}
assert ask("/users", ada | {"username": "ada"})[0] == 202
for _ in range(100):
    found = [m for name in glob.glob("/data/mail/*.eml") for m in re.findall(r"/activate\?token=(\S+)", open(name).read())]
    if found:
        break
    time.sleep(0.1)
assert ask("/auth/activate", {"token": found[0]})[0] == 200
status, tokens = ask("/auth/login", ada)
assert status == 200
status, me = ask("/users/me", token=tokens["access_token"])
assert (status, me["username"], me["is_active"]) == (200, "ada", True), me
print(f"job: register, activate from the mail file, log in, /users/me: {time.monotonic() - began:.1f} s")
JOB

began=$(date +%s%N)
kill -TERM "$(tr -d ' ' <"/proc/$server/task/$server/children")"
code=0
wait "$server" || code=$?
server=
test "$code" = 0 || fail "ended with $code"
say "process: SIGTERM, exit code 0 after $((($(date +%s%N) - began) / 1000000)) ms"
say "everything is as it should be"
