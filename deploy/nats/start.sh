#!/bin/sh
# Its configuration can take a password from the environment of the process, but not from a file.
NATS_PASSWORD="$(cat /run/secrets/nats_password)" exec nats-server -c /etc/nats/nats.conf
