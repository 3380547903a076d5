
function __lockstone_asked
    set -l current (commandline -ct)
    set -l words (commandline -opc) "$current"
    lockstone complete -- $words[2..-1] 2>/dev/null </dev/null
end

complete -c lockstone -k -f -n 'test (count (__lockstone_asked)) -gt 0' -a '(__lockstone_asked)'
