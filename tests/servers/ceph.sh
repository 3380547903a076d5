#!/bin/bash
# A small Ceph on loopback for a test: a monitor, a manager, three OSDs and an S3 gateway with a bucket.
# `ceph.sh FOLDER PORT KEY SECRET BUCKET`.
#
# Keeps all of its data in FOLDER, three copies of each object, and goes on with two. Ports from PORT on: the gateway's,
# then the monitor's; the others choose their own. Says `ready` when S3 answers, then obeys lines on standard input,
# `stop N` and `start N` for OSD N, each answered by `done`. Ends, with all of its processes, when standard input does.
set -euo pipefail
folder=$1 port=$2 key=$3 secret=$4 bucket=$5
mkdir -p "$folder"
cd "$folder"
export CEPH_CONF=$folder/ceph.conf CEPH_ARGS=""
declare -A pids=()

cat >ceph.conf <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon initial members = a
mon host = [v2:127.0.0.1:$((port + 1))/0,v1:127.0.0.1:$((port + 2))/0]
ms client mode = crc
ms cluster mode = crc
ms service mode = crc
ms mon client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = $folder
admin socket = $folder/\$name.asok
log file = $folder/\$name.log
mon cluster log file = $folder/cluster.log
crash dir = $folder
osd pool default size = 3
osd pool default min size = 2
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool delete = true
mon warn on insecure global id reclaim allowed = false
mon osd min down reporters = 1
mon osd adjust heartbeat grace = false
mon osd down out interval = 3600
mon data avail crit = 1
mon data avail warn = 2
osd heartbeat interval = 1
osd heartbeat grace = 4
[mon]
mon data = $folder/mon
[mgr]
mgr data = $folder/mgr
mgr initial modules =
[osd]
osd data = $folder/osd\$id
osd objectstore = bluestore
osd memory target = 939524096
osd memory cache min = 67108864
bluestore block size = 4294967296
bluestore block create = true
bluestore block wal create = false
bluestore block db create = false
bluestore fsck quick fix on mount = false
osd max object name len = 460
[client.rgw]
rgw data = $folder/rgw
rgw frontends = beast endpoint=127.0.0.1:$port
rgw enable usage log = false
rgw thread pool size = 64
CONF

background() { # name command…
  local name=$1
  shift
  "$@" </dev/null >"$name.out" 2>&1 &
  pids[$name]=$!
}

stop() { # name
  kill -9 "${pids[$1]}" 2>/dev/null || true
  wait "${pids[$1]}" 2>/dev/null || true
  unset "pids[$1]"
}

finish() {
  local name
  for name in "${!pids[@]}"; do stop "$name"; done
}
trap finish EXIT
trap 'exit 1' TERM INT HUP

until_works() { # seconds command…
  local end=$((SECONDS + $1))
  shift
  until "$@" >>wait.out 2>&1; do
    if ((SECONDS > end)); then
      echo "ceph.sh: in vain: $*" >&2
      tail -n 5 ./*.out >&2
      exit 1
    fi
    sleep 0.2
  done
}

start_osd() { # number
  background "osd$1" ceph-osd -i "$1" -f
}

osds_up() { # number
  ceph --connect-timeout 5 osd stat -f json | grep -Eq "\"num_up_osds\": ?$1\b"
}

clean() {
  ! ceph --connect-timeout 5 pg stat -f json | grep -Eq "degraded|peering|unknown|creating|inactive|undersized"
}

mkdir -p mon mgr rgw osd0 osd1 osd2
monmaptool --create --addv a "[v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))]" \
  --fsid "$(sed -n 's/^fsid = //p' ceph.conf)" monmap >setup.out 2>&1
ceph-mon --mkfs -i a --monmap monmap >>setup.out 2>&1
background mon ceph-mon -i a -f
background mgr ceph-mgr -i x -f
for n in 0 1 2; do
  uuid=$(cat /proc/sys/kernel/random/uuid)
  until_works 60 ceph --connect-timeout 5 osd new "$uuid" "$n"
  ceph-osd -i "$n" --mkfs --osd-uuid "$uuid" >>setup.out 2>&1
  start_osd "$n"
done
until_works 60 osds_up 3
background rgw radosgw -n client.rgw -f --no-mon-config
until_works 120 curl -sf -o /dev/null "http://127.0.0.1:$port/"
radosgw-admin --no-mon-config user create --uid=test --display-name=test --access-key="$key" --secret="$secret" >>setup.out 2>&1
until_works 60 curl -sf -X PUT --user "$key:$secret" --aws-sigv4 "aws:amz:us-east-1:s3" \
  -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" "http://127.0.0.1:$port/$bucket"
echo ready

while read -r what n; do
  case $what in
    stop) stop "osd$n" ;;
    start)
      start_osd "$n"
      until_works 60 osds_up 3
      until_works 120 clean
      ;;
    *) echo "ceph.sh: what is $what?" >&2 ;;
  esac
  echo "done"
done
