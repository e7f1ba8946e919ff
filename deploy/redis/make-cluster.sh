#!/bin/sh
# Make one cluster of the six servers, unless they are one; ends when it serves.
set -e
export REDISCLI_AUTH="$(cat /run/secrets/redis_password)"
ask() { redis-cli -h redis-cluster-1 "$@"; }
if ! ask cluster info | grep -q cluster_state:ok; then
    servers=""
    for number in 1 2 3 4 5 6; do
        address="$(getent hosts "redis-cluster-$number" | cut -d ' ' -f 1)"
        servers="$servers $address:6379"
    done
    # Not in quotes: six words.
    redis-cli --cluster create $servers --cluster-replicas 1 --cluster-yes
fi
for number in 1 2 3 4 5 6; do
    until redis-cli -h "redis-cluster-$number" cluster info | grep -q cluster_state:ok; do sleep 0.2; done
done
