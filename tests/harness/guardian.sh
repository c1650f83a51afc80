# Outlives the test run by a moment. $1 is the run's folder; each file in its pids holds a process group and a signal.
cat >/dev/null
ended=
for file in "$1"/pids/*; do
    read -r group signal <"$file" || continue
    ended="$ended $group"
    kill -s "$signal" -- "-$group"
    # A stopped process takes no signal but KILL until it goes on.
    kill -s CONT -- "-$group"
done
tries=0
for group in $ended; do
    while kill -s 0 -- "-$group" && [ "$tries" -lt 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    kill -s KILL -- "-$group"
done
rm -rf -- "$1"
