autocmd BufNewFile,BufRead *.vlab setfiletype vlab
