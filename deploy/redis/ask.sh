#!/bin/sh
# ask.sh PORT COMMAND...: for health checks; a wrong answer is a failure, too.
port="$1"
shift
[ "$port" = 26379 ] || export REDISCLI_AUTH="$(cat /run/secrets/redis_password)"
redis-cli -e -p "$port" "$@"
