# usage: ( call TEXT NAME WORD... )
# Does what `sh -c TEXT NAME WORD...` does, without another program: a process is what costs most.
call() { eval "shift 2
$1"; }
