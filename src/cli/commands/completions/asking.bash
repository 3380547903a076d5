
_lockstone_asking() {
    local found=() line
    if [[ ${COMP_WORDS[COMP_CWORD]} != -* ]]; then
        while IFS= read -r line; do
            found+=("$line")
        done < <("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null </dev/null)
    fi
    case ${#found[@]} in
        0) _lockstone "$@" ;;
        1) COMPREPLY=("${found[0]%%$'\t'*}") ;;
        *) COMPREPLY=("${found[@]/$'\t'/  }") ;;
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _lockstone_asking -o nosort -o bashdefault -o default lockstone
else
    complete -F _lockstone_asking -o bashdefault -o default lockstone
fi
