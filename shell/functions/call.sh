# usage: ( call TEXT NAME WORD... )
# Runs the text as `sh -c TEXT NAME WORD...` would, but in the shell that runs already: starting programs costs most of
# the time.
call() { eval "shift 2
$1"; }
