# Completion of @NAME@ for zsh. Load it after compinit with: source <(python3 cli.py completion zsh)
@FUNCTION@() {
    local command='' before=${words[CURRENT - 1]} files='' place
    local -a names options
    for ((place = 2; place < CURRENT; place++)); do
        case "$command ${words[place]}" in
            @VALUED@) ((++place)) ;;
            @COMMANDS@) command+=" ${words[place]}" ;;
        esac
    done
    case "$command $before" in
        @VALUES@
    esac
    case "$command" in
        @WORDS@
    esac
    if [[ ${words[CURRENT]} == -* || ( -z $names && -z $files ) ]]; then
        _describe option options
    elif [[ -n $files ]]; then
        _files
    else
        _describe command names
    fi
}
compdef @FUNCTION@ @NAME@
