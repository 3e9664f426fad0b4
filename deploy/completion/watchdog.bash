# Completion of `watchdog` for bash; made from the parser by `make docs`.
# zsh: autoload -U +X bashcompinit && bashcompinit, then source this file.
_watchdog_words() {
    case "$1" in
        '') echo 'replay evaluate rules record serve-stream export tap top events tracepoints extract doctor init run check reload incidents cases silences audit deliveries receivers drill receive' ;;
        rules) echo 'check list show schema' ;;
        incidents) echo 'list show ack resolve note export remove' ;;
        cases) echo 'list show why-not why ack resolve note split export' ;;
        silences) echo 'list add extend expire preview' ;;
        audit) echo list ;;
        deliveries) echo 'list resend' ;;
        receivers) echo 'list test preview secret' ;;
    esac
}
_watchdog_options() {
    case "$1" in
        '') echo '-h --help --version' ;;
        replay) echo '-h --help --fleet --config --rules --no-packs --asmap --node --speed --out --checkpoint --db --table --cases' ;;
        evaluate) echo '-h --help --fleet --config --json --rules --no-packs --asmap' ;;
        rules) echo '-h --help' ;;
        'rules check') echo '-h --help --no-packs --config' ;;
        'rules list') echo '-h --help --json --config --rules --no-packs' ;;
        'rules show') echo '-h --help --json --state --config --rules --no-packs' ;;
        'rules schema') echo '-h --help --config' ;;
        record) echo '-h --help --fleet --config --out --append --follow --node --asmap --kind --keep --rotate --where --payload' ;;
        serve-stream) echo '-h --help --socket --group --node --speed --follow --asmap' ;;
        export) echo '-h --help --format --kind --since --until --out' ;;
        tap) echo '-h --help --kinds --where --measure --by --every --format --count --for --follow --record --payload --node --asmap' ;;
        top) echo '-h --help --api --token --node' ;;
        events) echo '-h --help --config --json' ;;
        tracepoints) echo '-h --help --pid --config --json' ;;
        extract) echo '-h --help --pid --pidfile --binary --socket --group --kinds' ;;
        doctor) echo '-h --help --config --datadir --send --allow-exec --json' ;;
        init) echo '-h --help --out --datadir' ;;
        run) echo '-h --help --config --start --allow-exec --no-web' ;;
        check) echo '-h --help --config --schema' ;;
        reload) echo '-h --help --config' ;;
        incidents) echo '-h --help' ;;
        'incidents list') echo '-h --help --db --config --state --severity --node --since --limit --attack --cursor --json --jsonl' ;;
        'incidents show') echo '-h --help --db --config --json' ;;
        'incidents ack') echo '-h --help --db --config --who' ;;
        'incidents resolve') echo '-h --help --db --config --who --not-an-attack --verdict' ;;
        'incidents note') echo '-h --help --db --config --who' ;;
        'incidents export') echo '-h --help --db --config --state --severity --node --since --limit --attack --redact-key-file --out' ;;
        'incidents remove') echo '-h --help --db --config --older-than' ;;
        cases) echo '-h --help' ;;
        'cases list') echo '-h --help --db --config --state --severity --node --since --limit --cursor --json --jsonl' ;;
        'cases show') echo '-h --help --db --config --json' ;;
        'cases why-not') echo '-h --help --db --config --receiver --at --json' ;;
        'cases why') echo '-h --help --db --config' ;;
        'cases ack') echo '-h --help --db --config --text --who' ;;
        'cases resolve') echo '-h --help --db --config --text --who' ;;
        'cases note') echo '-h --help --db --config --text --who' ;;
        'cases split') echo '-h --help --db --config --text --who' ;;
        'cases export') echo '-h --help --db --config --state --severity --node --since --limit --redact-key-file --out' ;;
        silences) echo '-h --help' ;;
        'silences list') echo '-h --help --db --config --all --json --jsonl' ;;
        'silences add') echo '-h --help --db --config --party --rule --technique --node --for --until --comment --who' ;;
        'silences extend') echo '-h --help --db --config --for --until --who' ;;
        'silences expire') echo '-h --help --db --config --who' ;;
        'silences preview') echo '-h --help --db --config --party --rule --technique --node --comment --for --until --who --json --jsonl' ;;
        audit) echo '-h --help' ;;
        'audit list') echo '-h --help --db --config --limit --cursor --json --jsonl' ;;
        deliveries) echo '-h --help' ;;
        'deliveries list') echo '-h --help --status --receiver --incident --case --node --limit --cursor --json --jsonl --db --config' ;;
        'deliveries resend') echo '-h --help --db --config' ;;
        receivers) echo '-h --help' ;;
        'receivers list') echo '-h --help --json --config' ;;
        'receivers test') echo '-h --help --allow-exec --config' ;;
        'receivers preview') echo '-h --help --type --case --config' ;;
        'receivers secret') echo '-h --help' ;;
        drill) echo '-h --help --severity --node --timeout --json --who --db --config' ;;
        receive) echo '-h --help --listen --secret-file --out --status --delay --drop --first --retry-after' ;;
    esac
}
_watchdog_values() {
    case "$1 $2" in
        'replay --fleet') echo @none ;;
        'replay --config') echo @files ;;
        'replay --rules') echo @files ;;
        'replay --asmap') echo @files ;;
        'replay --node') echo @none ;;
        'replay --speed') echo @none ;;
        'replay --out') echo @none ;;
        'replay --checkpoint') echo @files ;;
        'replay --db') echo @none ;;
        'evaluate --fleet') echo @none ;;
        'evaluate --config') echo @files ;;
        'evaluate --rules') echo @files ;;
        'evaluate --asmap') echo @files ;;
        'rules check --config') echo @files ;;
        'rules list --config') echo @files ;;
        'rules list --rules') echo @files ;;
        'rules show --state') echo @files ;;
        'rules show --config') echo @files ;;
        'rules show --rules') echo @files ;;
        'rules schema --config') echo @files ;;
        'record --fleet') echo @none ;;
        'record --config') echo @files ;;
        'record --out') echo @files ;;
        'record --node') echo @none ;;
        'record --asmap') echo @files ;;
        'record --kind') echo @none ;;
        'record --keep') echo @none ;;
        'record --rotate') echo @none ;;
        'record --where') echo @none ;;
        'record --payload') echo @none ;;
        'serve-stream --socket') echo @files ;;
        'serve-stream --group') echo @none ;;
        'serve-stream --node') echo @none ;;
        'serve-stream --speed') echo @none ;;
        'serve-stream --asmap') echo @files ;;
        'export --format') echo 'parquet csv jsonl capture' ;;
        'export --kind') echo @none ;;
        'export --since') echo @none ;;
        'export --until') echo @none ;;
        'export --out') echo @none ;;
        'tap --kinds') echo @none ;;
        'tap --where') echo @none ;;
        'tap --measure') echo @none ;;
        'tap --by') echo @none ;;
        'tap --every') echo @none ;;
        'tap --format') echo 'line json hex' ;;
        'tap --count') echo @none ;;
        'tap --for') echo @none ;;
        'tap --record') echo @files ;;
        'tap --payload') echo @none ;;
        'tap --node') echo @none ;;
        'tap --asmap') echo @files ;;
        'top --api') echo @none ;;
        'top --token') echo @files ;;
        'top --node') echo @none ;;
        'events --config') echo @files ;;
        'tracepoints --pid') echo @none ;;
        'tracepoints --config') echo @files ;;
        'extract --pid') echo @none ;;
        'extract --pidfile') echo @files ;;
        'extract --binary') echo @files ;;
        'extract --socket') echo @files ;;
        'extract --group') echo @none ;;
        'extract --kinds') echo @none ;;
        'doctor --config') echo @files ;;
        'doctor --datadir') echo @files ;;
        'init --out') echo @files ;;
        'init --datadir') echo @files ;;
        'run --config') echo @files ;;
        'run --start') echo @none ;;
        'check --config') echo @files ;;
        'reload --config') echo @files ;;
        'incidents list --db') echo @none ;;
        'incidents list --config') echo @files ;;
        'incidents list --state') echo @none ;;
        'incidents list --severity') echo 'info warning high critical' ;;
        'incidents list --node') echo @none ;;
        'incidents list --since') echo @none ;;
        'incidents list --limit') echo @none ;;
        'incidents list --attack') echo @none ;;
        'incidents list --cursor') echo @none ;;
        'incidents show --db') echo @none ;;
        'incidents show --config') echo @files ;;
        'incidents ack --db') echo @none ;;
        'incidents ack --config') echo @files ;;
        'incidents ack --who') echo @none ;;
        'incidents resolve --db') echo @none ;;
        'incidents resolve --config') echo @files ;;
        'incidents resolve --who') echo @none ;;
        'incidents resolve --verdict') echo 'false_alarm attack' ;;
        'incidents note --db') echo @none ;;
        'incidents note --config') echo @files ;;
        'incidents note --who') echo @none ;;
        'incidents export --db') echo @none ;;
        'incidents export --config') echo @files ;;
        'incidents export --state') echo @none ;;
        'incidents export --severity') echo 'info warning high critical' ;;
        'incidents export --node') echo @none ;;
        'incidents export --since') echo @none ;;
        'incidents export --limit') echo @none ;;
        'incidents export --attack') echo @none ;;
        'incidents export --redact-key-file') echo @files ;;
        'incidents export --out') echo @none ;;
        'incidents remove --db') echo @none ;;
        'incidents remove --config') echo @files ;;
        'incidents remove --older-than') echo @none ;;
        'cases list --db') echo @none ;;
        'cases list --config') echo @files ;;
        'cases list --state') echo @none ;;
        'cases list --severity') echo 'info warning high critical' ;;
        'cases list --node') echo @none ;;
        'cases list --since') echo @none ;;
        'cases list --limit') echo @none ;;
        'cases list --cursor') echo @none ;;
        'cases show --db') echo @none ;;
        'cases show --config') echo @files ;;
        'cases why-not --db') echo @none ;;
        'cases why-not --config') echo @files ;;
        'cases why-not --receiver') echo @none ;;
        'cases why-not --at') echo @none ;;
        'cases why --db') echo @none ;;
        'cases why --config') echo @files ;;
        'cases ack --db') echo @none ;;
        'cases ack --config') echo @files ;;
        'cases ack --text') echo @none ;;
        'cases ack --who') echo @none ;;
        'cases resolve --db') echo @none ;;
        'cases resolve --config') echo @files ;;
        'cases resolve --text') echo @none ;;
        'cases resolve --who') echo @none ;;
        'cases note --db') echo @none ;;
        'cases note --config') echo @files ;;
        'cases note --text') echo @none ;;
        'cases note --who') echo @none ;;
        'cases split --db') echo @none ;;
        'cases split --config') echo @files ;;
        'cases split --text') echo @none ;;
        'cases split --who') echo @none ;;
        'cases export --db') echo @none ;;
        'cases export --config') echo @files ;;
        'cases export --state') echo @none ;;
        'cases export --severity') echo 'info warning high critical' ;;
        'cases export --node') echo @none ;;
        'cases export --since') echo @none ;;
        'cases export --limit') echo @none ;;
        'cases export --redact-key-file') echo @files ;;
        'cases export --out') echo @none ;;
        'silences list --db') echo @none ;;
        'silences list --config') echo @files ;;
        'silences add --db') echo @none ;;
        'silences add --config') echo @files ;;
        'silences add --party') echo @none ;;
        'silences add --rule') echo @none ;;
        'silences add --technique') echo @none ;;
        'silences add --node') echo @none ;;
        'silences add --for') echo @none ;;
        'silences add --until') echo @none ;;
        'silences add --comment') echo @none ;;
        'silences add --who') echo @none ;;
        'silences extend --db') echo @none ;;
        'silences extend --config') echo @files ;;
        'silences extend --for') echo @none ;;
        'silences extend --until') echo @none ;;
        'silences extend --who') echo @none ;;
        'silences expire --db') echo @none ;;
        'silences expire --config') echo @files ;;
        'silences expire --who') echo @none ;;
        'silences preview --db') echo @none ;;
        'silences preview --config') echo @files ;;
        'silences preview --party') echo @none ;;
        'silences preview --rule') echo @none ;;
        'silences preview --technique') echo @none ;;
        'silences preview --node') echo @none ;;
        'silences preview --comment') echo @none ;;
        'silences preview --for') echo @none ;;
        'silences preview --until') echo @none ;;
        'silences preview --who') echo @none ;;
        'audit list --db') echo @none ;;
        'audit list --config') echo @files ;;
        'audit list --limit') echo @none ;;
        'audit list --cursor') echo @none ;;
        'deliveries list --status') echo 'waiting sent merged dead' ;;
        'deliveries list --receiver') echo @none ;;
        'deliveries list --incident') echo @none ;;
        'deliveries list --case') echo @none ;;
        'deliveries list --node') echo @none ;;
        'deliveries list --limit') echo @none ;;
        'deliveries list --cursor') echo @none ;;
        'deliveries list --db') echo @none ;;
        'deliveries list --config') echo @files ;;
        'deliveries resend --db') echo @none ;;
        'deliveries resend --config') echo @files ;;
        'receivers list --config') echo @files ;;
        'receivers test --config') echo @files ;;
        'receivers preview --type') echo 'case.opened case.severity case.stage case.merged case.acknowledged case.resolved case.reopened case.reminder case.escalated case.updated incident.opened incident.updated incident.escalated incident.acknowledged incident.resolved' ;;
        'receivers preview --case') echo @none ;;
        'receivers preview --config') echo @files ;;
        'drill --severity') echo 'warning high critical' ;;
        'drill --node') echo @none ;;
        'drill --timeout') echo @none ;;
        'drill --who') echo @none ;;
        'drill --db') echo @none ;;
        'drill --config') echo @files ;;
        'receive --listen') echo @none ;;
        'receive --secret-file') echo @files ;;
        'receive --out') echo @files ;;
        'receive --status') echo @none ;;
        'receive --delay') echo @none ;;
        'receive --first') echo @none ;;
        'receive --retry-after') echo @none ;;
    esac
}
_watchdog() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} key='' word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
        [[ " $(_watchdog_words "$key") " == *" $word "* ]] || break
        key="${key:+$key }$word"
    done
    local words
    words=$(_watchdog_values "$key" "$previous")
    if [[ -z $words && $current == -* ]]; then
        words=$(_watchdog_options "$key")
    elif [[ -z $words ]]; then
        words=$(_watchdog_words "$key")
        words=${words:-@files}
    fi
    COMPREPLY=()
    case $words in
        @none) ;;
        @files) compopt -o default 2>/dev/null ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
    esac
}
complete -F _watchdog watchdog
