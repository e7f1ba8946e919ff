#!/bin/sh
# A sentinel of the primary. It writes its configuration when something changes: a file of its own.
password="$(cat /run/secrets/redis_password)"
[ -e /data/sentinel.conf ] || (umask 077; cat >/data/sentinel.conf) <<END
port 26379
dir /data
protected-mode no
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel monitor mymaster redis-primary 6379 2
sentinel auth-pass mymaster $password
sentinel down-after-milliseconds mymaster 2000
sentinel failover-timeout mymaster 5000
END
exec redis-server /data/sentinel.conf --sentinel
