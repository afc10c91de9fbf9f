# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_gollmctl_global_optspecs
    string join \n socket= json h/help V/version
end

function __fish_gollmctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_gollmctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_gollmctl_using_subcommand
    set -l cmd (__fish_gollmctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c gollmctl -n "__fish_gollmctl_needs_command" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_needs_command" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -s V -l version -d 'Print version'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "status" -d 'Show whether the daemon is up, what each provider has left, and what is wrong'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "top" -d 'Watch the daemon on a full screen, live'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "keys" -d 'List the keys with their states, counters and limits; never their secrets'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "key" -d 'Add, remove, enable or disable a key'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "select" -d 'Lease a key'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "exec" -d 'Run a command with a key in its environment'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "explain" -d 'Show which key would be leased now, and what is against each other one'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "report" -d 'Say what came of a lease'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "stats" -d 'Show requests, tokens, errors and cost, and when limits will be reached'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "events" -d 'Show what happens, as it happens'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "alert" -d 'Show the alerts whose cause is there, or send a test to the webhooks'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "validate" -d 'Ask the providers whether they take their keys'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "health" -d 'Show which keys are healthy, and since when'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "whoami" -d 'Show who the daemon takes you for, and what you may do'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "access" -d 'Show what a user may do, and by which rule'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "audit" -d 'Show who did what, and whether the trail is whole'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "doctor" -d 'Look at configuration, daemon, keys and machine, and say what mends what is wrong'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "providers" -d 'Show the providers that gollm knows; needs no daemon'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "prices" -d 'Show what models cost; needs no daemon'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "lock" -d 'Close the store, and forget its keys, until it is unlocked'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "unlock" -d 'Open the store with the master password, or a recovery code'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "passwd" -d 'Change the master password, or move it to another place'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "slot" -d 'Show, add or remove the master secrets that open the store'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "rekey" -d 'Seal everything under a new data key'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "backup" -d 'Write all that the daemon keeps into a sealed file'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "export" -d 'Write the configuration in force as YAML, with keys that were set by hand, and no secret'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "restore" -d 'Put a backup in the place of all that the daemon keeps'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "reload" -d 'Let the daemon read its configuration again'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "config" -d 'Look at the configuration; needs no daemon'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "completions" -d 'Write a shell\'s completions of this command'
complete -c gollmctl -n "__fish_gollmctl_needs_command" -f -a "man" -d 'Write the manual page'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand status" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand status" -l watch -d 'Show it again every two seconds, until Ctrl-C'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand status" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand top" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand top" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand top" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand keys" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand keys" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand keys" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and not __fish_seen_subcommand_from set remove enable disable" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and not __fish_seen_subcommand_from set remove enable disable" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and not __fish_seen_subcommand_from set remove enable disable" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and not __fish_seen_subcommand_from set remove enable disable" -f -a "set" -d 'Add a key, or replace its secret'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and not __fish_seen_subcommand_from set remove enable disable" -f -a "remove" -d 'Retire a key that was added with `key set`: it is never selected again, its secret is erased, its history kept'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and not __fish_seen_subcommand_from set remove enable disable" -f -a "enable" -d 'Lift a disable, and whatever has set the key aside'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and not __fish_seen_subcommand_from set remove enable disable" -f -a "disable" -d 'Keep a key from being selected, until it is enabled again'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from set" -l rate-limit -d 'Leases in any 60 minutes' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from set" -l cost-limit -d 'Dollars in a UTC day' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from set" -l weight -d 'Share in the strategies `random` and `round_robin`' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from set" -l account -d 'The account it belongs to: keys of one account share its set-asides' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from set" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from set" -l disabled -d 'Keep the key from being selected'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from set" -l no-validate -d 'Keep the secret without asking the provider about it first'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from set" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from remove" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from remove" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from enable" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from enable" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from disable" -l for -d 'Enable it again by itself after this time, as in 30m or 2h' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from disable" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from disable" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand key; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l model -d 'The model that will be asked: set-asides and prices hang on it' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l strategy -d 'Choose the key in this way instead of the provider\'s own' -r -f -a "round_robin\t''
least_used\t''
cost_optimized\t''
random\t''
single\t''"
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l key -d 'This key and no other' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l estimate-cost -d 'What the request may cost, in dollars: held against cost limits until the lease is reported' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l estimate-input -d 'How many tokens may be sent, where the cost is to be worked out' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l estimate-output -d 'How many tokens may be answered' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l session -d 'The conversation that this belongs to: it keeps its key while that can be used' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l wait -d 'Wait for a key for so long where none can be leased, as in 30s, a day at most; callers are served in order of arrival' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l no-fallback -d 'Take no other provider\'s key when this one has none'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l secret-only -d 'Write the secret and nothing else; the lease can then only run out'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l reveal -d 'Show the secret even on a terminal'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand select" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l model -d 'The model that will be asked: set-asides and prices hang on it' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l strategy -d 'Choose the key in this way instead of the provider\'s own' -r -f -a "round_robin\t''
least_used\t''
cost_optimized\t''
random\t''
single\t''"
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l key -d 'This key and no other' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l estimate-cost -d 'What the request may cost, in dollars: held against cost limits until the lease is reported' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l estimate-input -d 'How many tokens may be sent, where the cost is to be worked out' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l estimate-output -d 'How many tokens may be answered' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l session -d 'The conversation that this belongs to: it keeps its key while that can be used' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l wait -d 'Wait for a key for so long where none can be leased, as in 30s, a day at most; callers are served in order of arrival' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l env -d 'The variable that gets the secret, instead of the provider\'s own' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l base-url-env -d 'A variable that gets the provider\'s address too' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l fallback -d 'Take another provider\'s key where this one has none: the variable is then that provider\'s'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand exec" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -l model -d 'The model that will be asked: set-asides and prices hang on it' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -l strategy -d 'Choose the key in this way instead of the provider\'s own' -r -f -a "round_robin\t''
least_used\t''
cost_optimized\t''
random\t''
single\t''"
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -l key -d 'This key and no other' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -l estimate-cost -d 'What the request may cost, in dollars: held against cost limits until the lease is reported' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -l estimate-input -d 'How many tokens may be sent, where the cost is to be worked out' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -l estimate-output -d 'How many tokens may be answered' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -l session -d 'The conversation that this belongs to: it keeps its key while that can be used' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -l no-fallback -d 'Look at this provider\'s keys alone'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand explain" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -l outcome -d 'What came of it' -r -f -a "ok\t''
rate_limited\t''
quota_exhausted\t''
auth_failed\t''
permission_denied\t''
overloaded\t''
server_error\t''
timeout\t''
bad_request\t''
cancelled\t''"
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -l response -d 'A file with the provider\'s answer as `curl -i` writes it, instead of --outcome; `-`: standard input' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -l model -d 'The model that answered, if it is not the one that was selected for' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -l input-tokens -d 'Tokens sent, cached ones included' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -l output-tokens -d 'Tokens answered' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -l cached-tokens -d 'How many of the tokens sent the provider read from its cache' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -l cost -d 'The cost in dollars, where the provider told it: wins over the price' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -l retry-after -d 'How long the provider asked to wait, as in 30s' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand report" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand stats" -l by -d 'A row for each of these, or each combination of them [default: key]' -r -f -a "key\t''
model\t''
caller\t''
unit\t''
provider\t''
hour\t''
day\t''"
complete -c gollmctl -n "__fish_gollmctl_using_subcommand stats" -l bucket -d 'A row for each hour or day of them' -r -f -a "hour\t''
day\t''"
complete -c gollmctl -n "__fish_gollmctl_using_subcommand stats" -l since -d 'Usage from then on: 7d ago, a date, or a time as in 2026-01-31T12:00:00Z [with --html: 30d]' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand stats" -l until -d 'Usage before then, written as for --since' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand stats" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand stats" -l csv -d 'Write comma-separated values (RFC 4180), with every column'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand stats" -l html -d 'Write a page for a browser, with plots'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand stats" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand stats" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand events" -l kind -d 'Of these kinds only [default: all]' -r -f -a "granted\t''
settled\t''
expired\t''
recorded\t''
refused\t''
key_state\t''
account_state\t''
provider_state\t''
alert\t''
audit\t''"
complete -c gollmctl -n "__fish_gollmctl_using_subcommand events" -l count -d 'End after so many events' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand events" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand events" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand events" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and not __fish_seen_subcommand_from list test" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and not __fish_seen_subcommand_from list test" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and not __fish_seen_subcommand_from list test" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and not __fish_seen_subcommand_from list test" -f -a "list" -d 'Show the alerts whose cause is there'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and not __fish_seen_subcommand_from list test" -f -a "test" -d 'Send a test to every webhook, and say which took it'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and __fish_seen_subcommand_from list" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and __fish_seen_subcommand_from list" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and __fish_seen_subcommand_from test" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and __fish_seen_subcommand_from test" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand alert; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand validate" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand validate" -l format-only -d 'Look at the shape of the keys alone, and ask no provider'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand validate" -l spend -d 'Also ask for the smallest completion, which costs money'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand validate" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand validate" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand health" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand health" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand health" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand whoami" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand whoami" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand whoami" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand access" -l unit -d 'As if it ran in this system unit, or in the control group of this path' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand access" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand access" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand access" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand audit" -l since -d 'None older: 12h or 7d for so long ago, or a date, or a moment' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand audit" -l who -d 'What this user asked for, by name or number' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand audit" -l limit -d 'The newest so many [default: 200]' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand audit" -l anchor -d 'An end of the chain that was written down: is it in it still?' -r
complete -c gollmctl -n "__fish_gollmctl_using_subcommand audit" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand audit" -l follow -d 'Go on with what comes, until interrupted'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand audit" -l verify -d 'Walk the chain and say whether it is whole; fail if it is not'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand audit" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand audit" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand doctor" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand doctor" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand providers" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand providers" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand providers" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand prices" -l config -d 'The configuration file, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand prices" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand prices" -l yaml -d 'Write the price list as a file that can replace it'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand prices" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand prices" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand lock" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand lock" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand lock" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand unlock" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand unlock" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand unlock" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand passwd" -l to -d 'Where the master secret shall be' -r -f -a "keyring\t'The keyring of the operating system'
credential\t'A credential that systemd unseals for the daemon'
file\t'`master.key` in the state directory'
prompt\t'A person, by `gollmctl unlock`'"
complete -c gollmctl -n "__fish_gollmctl_using_subcommand passwd" -l file -d 'Where systemd finds the sealed credential [default: /etc/credstore.encrypted/gollm-master]' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand passwd" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand passwd" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand passwd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and not __fish_seen_subcommand_from list add remove" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and not __fish_seen_subcommand_from list add remove" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and not __fish_seen_subcommand_from list add remove" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and not __fish_seen_subcommand_from list add remove" -f -a "list" -d 'Show which master secrets open the store'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and not __fish_seen_subcommand_from list add remove" -f -a "add" -d 'Let another one open it, beside those that are there'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and not __fish_seen_subcommand_from list add remove" -f -a "remove" -d 'Let one open it no more; the last one stays'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and __fish_seen_subcommand_from list" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and __fish_seen_subcommand_from list" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and __fish_seen_subcommand_from add" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and __fish_seen_subcommand_from add" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and __fish_seen_subcommand_from remove" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and __fish_seen_subcommand_from remove" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand slot; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand rekey" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand rekey" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand rekey" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand backup" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand backup" -l passphrase -d 'Seal it with a passphrase of its own, which is asked for, or read from standard input'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand backup" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand backup" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand export" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand export" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand export" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand restore" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand restore" -l check -d 'Only say whether it opens, and what is in it'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand restore" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand restore" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand reload" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand reload" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and not __fish_seen_subcommand_from check show" -l config -d 'The configuration file' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and not __fish_seen_subcommand_from check show" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and not __fish_seen_subcommand_from check show" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and not __fish_seen_subcommand_from check show" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and not __fish_seen_subcommand_from check show" -f -a "check" -d 'Say everything that is wrong with the configuration; the exit status is 1 if anything is'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and not __fish_seen_subcommand_from check show" -f -a "show" -d 'Show the configuration in force, with every default, and with no secret'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'The configuration file' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and __fish_seen_subcommand_from check" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and __fish_seen_subcommand_from check" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'The configuration file' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and __fish_seen_subcommand_from show" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and __fish_seen_subcommand_from show" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand completions" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand completions" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand completions" -s h -l help -d 'Print help'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand man" -l dir -d 'Write gollmctl.1 into this directory, instead of to standard output' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand man" -l socket -d 'The daemon\'s socket, instead of where it is looked for' -r -F
complete -c gollmctl -n "__fish_gollmctl_using_subcommand man" -l json -d 'Answer with the daemon\'s reply as JSON, on one line; a refusal too'
complete -c gollmctl -n "__fish_gollmctl_using_subcommand man" -s h -l help -d 'Print help'
