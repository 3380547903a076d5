_lockstone() {
    local -a found ids lines
    if [[ $words[CURRENT] != -* ]]; then
        found=("${(@f)$(lockstone complete -- "${(@)words[2,CURRENT]}" 2>/dev/null </dev/null)}")
    fi
    found=(${found:#})
    if (( $#found )); then
        ids=("${(@)found%%$'\t'*}")
        lines=("${(@)found/$'\t'/  }")
        compadd -V lockstone -l -d lines -a ids
    else
        _lockstone_words "$@"
    fi
}
