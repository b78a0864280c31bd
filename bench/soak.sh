#!/usr/bin/env bash
# A soak: one publisher, viewers who come and go, memory and rows watched all along.
#
#   bench/soak.sh [MINUTES] [VIEWERS] [FOLDER]      (default: 30 minutes, half load, bench/reports/soak)
#
# Starts an Ion of its own with one worker on loopback from BIN (default target/release), lets `ion-loadtest` churn 200
# viewers a minute, and writes a line each half minute to FOLDER/samples.csv. Half load is as many viewers as keep the
# worker's core busy half of the time, by what 600 of them took; MOST at most (default 1500). One viewer in ten decrypts and
# counts what it gets, so that the generator, on the other core, keeps up. Fails when a packet was lost in the SFU, a join failed, a row is left after the last viewer, or the
# dataplane's memory grew by more than a tenth in the second half.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-30} viewers=${2:-half} out=${3:-bench/reports/soak}
most=${MOST:-1500}
bin=${BIN:-target/release}
http=127.0.0.1:7970 state=$(mktemp -d)
mkdir -p "$out"
# A limit for each address would be one for all: they come from one here.
"$bin/ion" run --dev --workers 1 --http $http --media 127.0.0.1:7972 --state-dir "$state" --rate-burst 100000 --rate-per-second 10000 \
    >"$out/ion.log" 2>&1 &
ion=$!
trap 'kill -INT "$ion" 2>/dev/null; wait "$ion" 2>/dev/null; rm -rf "$state"' EXIT
for _ in $(seq 50); do curl -fs "http://$http/readyz" >/dev/null && break; sleep 0.1; done

load() { "$bin/ion-loadtest" run --whip "http://$http/whip/{room}" --whep "http://$http/whep/{room}" --decrypt-sample 1/10 --ramp 100/s "$@"; }
child() { pgrep -P "$ion" -x "$1" | head -n 1; } # names are cut to 15 characters by the kernel
cpu() { awk '{print ($14 + $15) * 10}' "/proc/$1/stat"; } # milliseconds at the usual 100 Hz
dataplane=$(child ion-dataplane) control=$(child ion-controlplan)
if [ "$viewers" = half ]; then
    load --viewers 600 --duration 25s >"$out/calibration.log" 2>&1 &
    load=$!
    sleep 12 # they have joined
    before=$(cpu "$dataplane")
    sleep 10
    used=$(($(cpu "$dataplane") - before))
    wait "$load" || { cat "$out/calibration.log"; exit 1; }
    viewers=$((600 * 5000 / (used > 0 ? used : 1)))
    [ "$viewers" -le "$most" ] || viewers=$most
    echo "soak: 600 viewers keep the worker busy $((used / 100)) % of the time; going on with $viewers"
fi

load --viewers "$viewers" --duration "${minutes}m" --churn 200/min --json "$out/report.json" --html "$out/report.html" \
    --fail-if 'joins_failed>0' >"$out/loadtest.log" 2>&1 &
load=$!

metric() { curl -fs "http://$http/metrics" | awk -v name="$1" 'index($1, name) == 1 {sum += $2} END {print sum + 0}'; }
# Memory of its own, and of the shared tables: rows are used in turn, so these are touched one after the other up to their capacity.
memory() { awk '/^RssAnon/ {anon = $2} /^RssShmem/ {print anon "," $2}' "/proc/$1/status"; }
echo 'second,dataplane_kib,dataplane_tables_kib,control_kib,control_tables_kib,rows,sessions,buffers,sent,dropped,dataplane_cpu_ms' | tee "$out/samples.csv"
SECONDS=0
while kill -0 "$load" 2>/dev/null; do
    sleep 30
    printf '%s,%s,%s,%s,%s,%s,%s,%s,%s\n' $SECONDS "$(memory "$dataplane")" "$(memory "$control")" "$(metric ion_rows_used)" \
        "$(metric 'ion_sessions{')" "$(metric ion_worker_buffers_used)" "$(metric ion_worker_packets_sent_total)" \
        "$(metric ion_worker_drops_total)" "$(cpu "$dataplane")" | tee -a "$out/samples.csv"
done
status=0
wait "$load" || status=$?
tail -n 25 "$out/loadtest.log"
[ $status -eq 0 ] || echo "soak: ion-loadtest ended with status $status"
rows=$(metric ion_rows_used)
[ "$rows" -eq 0 ] || { echo "soak: $rows rows are left"; status=1; }
# The SFU's own drops; what the generator was too slow to read is in its report as its own lag.
curl -fs "http://$http/metrics" | grep '^ion_worker_drops_total' | grep -v ' 0$' || echo 'soak: nothing was dropped'
awk -F, 'NR > 1 {at[n] = $1; cpu[n] = $11; kib[n++] = $2} END {
    first = kib[int(n / 2)]; last = kib[n - 2]
    busy = (cpu[n - 1] - cpu[0]) / (at[n - 1] - at[0]) / 10
    printf "soak: the dataplane was busy %.0f %% of a core\n", busy
    printf "soak: dataplane memory %d KiB at half time, %d at the end\n", first, last
    exit last > first * 1.1 }' "$out/samples.csv" || status=1
exit $status
