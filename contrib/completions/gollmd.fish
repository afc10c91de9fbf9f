complete -c gollmd -l config -d 'The configuration [default: $GOLLM_CONFIG, $XDG_CONFIG_HOME/gollm/gollm-config.yaml, /etc/gollm/gollm-config.yaml]' -r -F
complete -c gollmd -l socket -d 'The socket to serve [default: $GOLLM_SOCKET, $XDG_RUNTIME_DIR/gollm/gollmd.sock; /run/gollm/gollmd.sock for root]' -r -F
complete -c gollmd -l state-dir -d 'Where state is kept [default: $STATE_DIRECTORY, $XDG_STATE_HOME/gollm; /var/lib/gollm for root]' -r -F
complete -c gollmd -l daemonize -d 'Go into the background; return when it serves, or say why it does not'
complete -c gollmd -l repair -d 'Save what can be opened of a damaged store, say what is lost, and keep the damaged files; start nothing'
complete -c gollmd -l check -d 'Check whether the configuration loads, and say what is in it; start nothing'
complete -c gollmd -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gollmd -s V -l version -d 'Print version'
