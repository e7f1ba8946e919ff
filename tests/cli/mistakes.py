"""Bad configuration files, and what is said about each: file, line, path, what was found, what is allowed."""

N, R, C = (f'[coordinator]\n"@type" = "{kind}"\n' for kind in ("Nats", "Redis", "RedisCluster"))
DURATION = 'allowed: a positive number of milliseconds, or text like "5s", "1m30s", "250ms"'
ADDRESS = 'allowed: host:port or nats://host:port or tls://host:port, for example "nats-1:4222"'
SECRET = "allowed: None, Value, EnvironmentVariable, File"
MISTAKES = [
    # -- settings
    ('clustr = "x"\n', "bus.toml:1: clustr: there is no such setting; did you mean cluster?"),
    ("[server]\nport = 1\n", "bus.toml:1: server: there is no such setting"),
    ("cluster = 7\n", "bus.toml:1: cluster: not valid (found a number); allowed: text"),
    (
        'cluster = "a b"\n',
        "bus.toml:1: cluster is 'a b'; allowed are 1 to 48 of the characters A-Z a-z 0-9 _ -",
    ),
    ('node = ["a"]\n', "bus.toml:1: node: not valid (found a list); allowed: text"),
    ('stateDir = ""\n', "bus.toml:1: stateDir: not valid (found text); allowed: text"),
    ('\nmanaged = "me"\n', 'bus.toml:2: managed: not valid (found "me"); allowed: admin, file'),
    ('logLevel = "loud"\n', 'logLevel: not valid (found "loud"); allowed: debug, info, warning, error'),
    ('logFormat = "xml"\n', 'bus.toml:1: logFormat: not valid (found "xml"); allowed: auto, text, json'),
    ('hosts = "a"\n', "bus.toml:1: hosts: not valid (found text); allowed: a list of texts"),
    ('hosts = ["a", 7]\n', "bus.toml:1: hosts: not valid (found a list); allowed: a list of texts"),
    ("insecureHttp = 1\n", "bus.toml:1: insecureHttp: not valid (found 1); allowed: true or false"),
    # -- the whole
    ("node = \n", "bus.toml:1: not valid TOML"),
    ('cluster = "c"\ncluster = "d"\n', "bus.toml:2: not valid TOML"),
    ("coordinator = 7\n", "bus.toml:1: coordinator: it must be an object or a URL"),
    ('coordinator = "redis"\n', "bus.toml:1: coordinator: neither a URL nor JSON; a URL is, for example,"),
    ('coordinator = "pigeon://x"\n', "bus.toml:1: coordinator: unknown scheme pigeon://; allowed: kafka://"),
    (
        'coordinator = "nats://h:1?pingIntervall=5s"\n',
        "bus.toml:1: coordinator: pingIntervall: unknown field",
    ),
    (
        'coordinator = "nats://u:hunter2@h:99999"\n',
        f'bus.toml:1: coordinator.addresses.0: not valid (found "h:99999"); {ADDRESS}; the port must be',
    ),
    # -- variants and names
    ('[coordinator]\n"@type" = "Natz"\n', 'bus.toml:2: coordinator.@type: unknown type (found "Natz")'),
    ('[coordinator]\n"@type" = ["Nats"]\n', "bus.toml:2: coordinator.@type: unknown type (found a list)"),
    ('[coordinator]\naddresses = ["h:1"]\n', "coordinator.@type: is required"),
    (f"{N}brokers = []\n", "bus.toml:3: coordinator.brokers: unknown field"),
    (f'{N}adresses = ["h:1"]\n', "did you mean addresses?"),
    (f'{N}url = "redis://h"\n', "field of Redis, not of Nats"),
    (
        '[coordinator]\n"@type" = "Disabled"\nurl = "x"\n',
        "coordinator.url: unknown field; allowed: no field at all",
    ),
    ('[coordinator]\n"@type" = "Kafka"\n', "bus.toml:1: coordinator.groupId: is required; allowed: text"),
    (
        '[coordinator]\n"@type" = "Zenoh"\n',
        "bus.toml:1: coordinator.config: is required; allowed: an object in JSON5",
    ),
    # -- lists
    ('"@type" = "Nats"\naddresses = []\n', "bus.toml:2: coordinator.addresses: must not be empty"),
    (f'{N}addresses = "h:1"\n', 'wrong type (found "h:1"); allowed: a list of at least 1: host:port'),
    (
        f"{N}addresses = [7]\n",
        f"coordinator.addresses.0: wrong type (found 7); {ADDRESS}; write it in quotes",
    ),
    (f'{N}addresses = ["http://h:1"]\n', f"{ADDRESS}; http:// is not allowed; use nats:// or tls://"),
    (f"{C}urls = []\n", "bus.toml:3: coordinator.urls: must not be empty; allowed: a list of at least 1"),
    # -- durations, numbers, choices
    (
        f'{N}\npingInterval = "5sec"\n',
        f'bus.toml:4: coordinator.pingInterval: not valid (found "5sec"); {DURATION}',
    ),
    (f"{N}pingInterval = 0\n", f"coordinator.pingInterval: too small (found 0); {DURATION}"),
    (f"{N}pingInterval = 1.5\n", f'wrong type (found 1.5); {DURATION}; write 1.5s as "1s500ms"'),
    (
        f"{N}pingInterval = true\n",
        f"bus.toml:3: coordinator.pingInterval: wrong type (found true); {DURATION}",
    ),
    (f"{C}minRetryWait = 900\nmaxRetryWait = 5\n", "is longer than maxRetryWait (found 900ms > 5ms)"),
    (f"{N}capacityClient = 0\n", "too small (found 0); allowed: a whole number from 1 on"),
    (f'{N}capacityClient = "many"\n', 'wrong type (found "many"); allowed: a whole number from 1 on'),
    (f"{N}maxReconnects = -1\n", "too small (found -1); allowed: a whole number from 0 on, or null"),
    (f"{R}poolMaxConnections = 9000\n", "too large (found 9000); allowed: a whole number from 1 to 8192"),
    (
        f'{N}noEcho = "no"\n',
        'bus.toml:3: coordinator.noEcho: wrong type (found "no"); allowed: true or false',
    ),
    (
        f'{C}protocolVersion = "resp4"\n',
        'not valid (found "resp4"); allowed: resp2, resp3; did you mean resp3?',
    ),
    # -- secrets and URLs
    (
        f'{N}authSecret = "hunter2"\n',
        "coordinator.authSecret: wrong type (found text); allowed: an object with",
    ),
    (f'{N}authSecret = {{secret = "hunter2"}}\n', f"coordinator.authSecret.@type: is required; {SECRET}"),
    (
        f'{N}authSecret = {{"@type" = "Vault"}}\n',
        f'unknown type (found "Vault"); {SECRET}; did you mean Value?',
    ),
    (f'{N}authSecret = {{"@type" = "Value"}}\n', "bus.toml:3: coordinator.authSecret.secret: is required"),
    (
        f'{N}authSecret = {{"@type" = "Value", secret = "****"}}\n',
        "is the mask that hides a secret, not the secret",
    ),
    (
        f'{N}authSecret = {{"@type" = "File", filePath = ""}}\n',
        "coordinator.authSecret.filePath: must not be empty",
    ),
    (
        f'{N}[coordinator.authSecret]\n"@type" = "File"\nfile = "x"\n',
        "bus.toml:5: coordinator.authSecret.file: unknown field",
    ),
    (f'{N}tlsKey = "/k"\n', "bus.toml:3: coordinator.tlsKey: has no effect without TLS; set useTls"),
    (f'{R}url = "http://h"\n', 'not valid (found "http://h"); allowed: a URI with redis://'),
    (f'{R}url = "redis://"\n', "the host is missing; environment name BUS_COORDINATOR__URL"),
    (
        f'{R}url = "redis://:hunter2@h:port"\n',
        'bus.toml:3: coordinator.url: not valid (found "redis://:****@h:port")',
    ),
    # -- what only a library knows
    (
        '[coordinator]\n"@type" = "Zenoh"\nconfig = "{mode: }"\n',
        "bus.toml:3: coordinator.config: config of Zenoh: line 1",
    ),
    ('[coordinator]\n"@type" = "Zenoh"\nconfig = "{mod: 1}"\n', "unknown field `mod`, expected one of `id`"),
    ('[coordinator]\n"@type" = "Default"\n', "bus.toml:2: coordinator: the variant Default reuses"),
]
