# Completion of @NAME@ for bash. Load it with: source <(python3 cli.py completion bash)
# shellcheck shell=bash
@FUNCTION@() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command='' names='' options='' files='' place
    for ((place = 1; place < COMP_CWORD; place++)); do
        case "$command ${COMP_WORDS[place]}" in
            @VALUED@) ((++place)) ;;
            @COMMANDS@) command+=" ${COMP_WORDS[place]}" ;;
        esac
    done
    case "$word$before" in # bash makes --option=value three words
        =*) word='' ;;
        *=) before=${COMP_WORDS[COMP_CWORD - 2]} ;;
    esac
    COMPREPLY=()
    case "$command $before" in
        @VALUES@
    esac
    case "$command" in
        @WORDS@
    esac
    if [[ $word == -* || (-z $names && -z $files) ]]; then
        names=$options
    elif [[ -n $files ]]; then
        return
    fi
    compopt +o default
    mapfile -t COMPREPLY < <(compgen -W "$names" -- "$word")
}
complete -o default -F @FUNCTION@ @NAME@
