#!/bin/sh
# server.sh [PRIMARY]: a Redis server, or a replica. The password goes in by stdin: arguments can be seen by all.
password="$(cat /run/secrets/redis_password)"
exec redis-server - <<END
requirepass $password
masterauth $password
save ""
appendonly no
dir /data
replica-announce-ip $(hostname)
repl-diskless-sync-delay 0
${1:+replicaof $1 6379}
END
