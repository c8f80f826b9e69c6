" What Vim does in a lab file: comments, indentation, `gq` by vtopo fmt, `:make` by vtopo check.
if exists("b:did_ftplugin")
  finish
endif
let b:did_ftplugin = 1

setlocal commentstring=#\ %s comments=:#
setlocal expandtab shiftwidth=2 softtabstop=2 autoindent smartindent
setlocal iskeyword+=-
setlocal formatprg=vtopo\ fmt\ -
setlocal makeprg=vtopo\ check\ --color\ never\ %:S
setlocal errorformat=%Eerror[%*[A-Z0-9]]:\ %m,%Wwarning[%*[A-Z0-9]]:\ %m,%Z\ %#-->\ %f:%l:%c,%-G%.%#

let b:undo_ftplugin = "setlocal commentstring< comments< expandtab< shiftwidth< softtabstop< autoindent<"
      \ . " smartindent< iskeyword< formatprg< makeprg< errorformat<"
