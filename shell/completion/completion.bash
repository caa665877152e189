# Completion of @NAME@ for bash. Load it with: source <(python3 cli.py completion bash)
# shellcheck shell=bash disable=SC2016 # the meanings of words are texts
@SHARED@
@FUNCTION@() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]} files='' message=''
    local -a names=() options=() values=()
    case "$word$before" in # bash makes --option=value three words
        =*) word='' ;;
        *=) before=${COMP_WORDS[COMP_CWORD - 2]} ;;
    esac
    printf -v program %q "${program/#\~\//$HOME/}"
    program=${BASH_ALIASES[${COMP_WORDS[0]}]-$program}
    @FUNCTION@_words "$program" "$word" "$before" "${COMP_WORDS[@]:1:COMP_CWORD-1}"
    COMPREPLY=()
    if [[ -n $message || ${#values[@]} -gt 0 ]]; then
        names=("${values[@]}")
    elif [[ -z $files && (${#names[@]} -eq 0 || $word == -*) ]] || [[ $files != only && $word == -* ]]; then
        names=("${options[@]}") files=''
    fi
    [[ -n $files ]] || compopt +o default
    mapfile -t COMPREPLY < <(compgen -W "${names[*]%%:*}" -- "$word")
}
complete -o default -F @FUNCTION@ @NAME@
