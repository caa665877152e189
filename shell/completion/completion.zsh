# Completion of @NAME@ for zsh. Load it after compinit with: source <(python3 cli.py completion zsh)
@SHARED@
@FUNCTION@() {
    local program=${words[1]/#\~\//$HOME/} files='' message=''
    local -a names options values
    program=${aliases[${words[1]}]-${(q)program}}
    @FUNCTION@_words "$program" "${words[CURRENT]}" "${words[CURRENT - 1]}" "${(@)words[2,CURRENT - 1]}"
    if [[ -n $message ]]; then
        _message "$message"
    elif ((${#values})); then
        _describe value values
    elif [[ $files != only && ${words[CURRENT]} == -* ]] || [[ -z $files && ${#names} -eq 0 ]]; then
        _describe option options
    else
        ((${#names})) && _describe name names
        [[ -n $files ]] && _files
    fi
}
compdef @FUNCTION@ @NAME@
