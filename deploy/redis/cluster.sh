#!/bin/sh
# One server of the cluster.
password="$(cat /run/secrets/redis_password)"
exec redis-server - <<END
requirepass $password
masterauth $password
save ""
appendonly no
dir /data
cluster-enabled yes
cluster-node-timeout 2000
END
