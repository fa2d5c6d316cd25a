#!/bin/bash
# Starts OpenStack's Placement (Debian's python3-placement, uwsgi-core, uwsgi-plugin-python3) on a loopback port with
# SQLite under a temporary folder, for measuring and for comparing answers. Runs until it is interrupted; prints
# "ready URL PIDFILE" when it serves. The folder is removed at the end unless it was given.
#
#   real_placement.sh [-p PORT] [-w WORKERS] [-d FOLDER]
set -euo pipefail
port=8779 workers=1 folder=
while getopts p:w:d: option; do
  case $option in
    p) port=$OPTARG ;;
    w) workers=$OPTARG ;;
    d) folder=$OPTARG ;;
    *) sed -n '2,6p' "$0" >&2; exit 2 ;;
  esac
done
for need in /usr/bin/placement-manage /usr/bin/placement-api /usr/bin/uwsgi-core; do
  if [ ! -x "$need" ]; then
    echo "real_placement: $need is missing; apt-get install --no-install-recommends python3-placement uwsgi-core uwsgi-plugin-python3" >&2
    exit 77
  fi
done
if [ -z "$folder" ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
fi
cat > "$folder/placement.conf" <<CONF
[DEFAULT]
debug = false
[api]
auth_strategy = noauth2
[placement_database]
connection = sqlite:///$folder/placement.db
sync_on_startup = false
[oslo_policy]
policy_file = $folder/policy.yaml
CONF
: > "$folder/policy.yaml"
export OS_PLACEMENT_CONFIG_DIR=$folder
/usr/bin/placement-manage --config-file "$folder/placement.conf" db sync >> "$folder/log" 2>&1
# The first request puts the standard traits and classes in; with several workers they would race for it.
/usr/bin/uwsgi-core --plugins python3 --http-socket "127.0.0.1:$port" --wsgi-file /usr/bin/placement-api --processes "$workers" \
  --master --need-app --lazy-apps --die-on-term --buffer-size 65535 --disable-logging \
  --pidfile "$folder/pid" --env "OS_PLACEMENT_CONFIG_DIR=$folder" >> "$folder/log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; case $folder in /tmp/tmp.*) rm -rf "$folder" ;; esac' EXIT
trap 'exit 0' INT TERM
for _ in $(seq 150); do
  if python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/', timeout=5).read()" 2>/dev/null; then
    echo "ready http://127.0.0.1:$port $folder/pid"
    wait "$server"
    exit
  fi
  kill -0 "$server" 2>/dev/null || break
  sleep 0.2
done
echo "real_placement: it did not start; see below" >&2
tail -20 "$folder/log" >&2
exit 1
