" The vlab language. Written from its grammar and its schema by `make golden`.
if exists("b:current_syntax")
  finish
endif

syntax match vlabProperty /\%(^\|[{;}]\)\@<=\s*\zs\%(memory-reservation\|multicast-snooping\|network-config\|forward-delay\|machine-type\|passthrough\|cloud-init\|cpu-weight\|entrypoint\|hello-time\|masquerade\|namespaces\|overcommit\|privileged\|static-mac\|swappiness\|duplicate\|hugepages\|interface\|meta-data\|user-data\|cap-drop\|firmware\|graphics\|isolated\|learning\|priority\|takeover\|topology\|address\|balloon\|cap-add\|cmdline\|command\|corrupt\|devices\|forward\|gateway\|max-age\|network\|persist\|primary\|publish\|reorder\|restart\|transit\|workdir\|ageing\|cpuset\|device\|hyperv\|initrd\|jitter\|kernel\|memory\|miimon\|queues\|remote\|rootfs\|subnet\|sysctl\|volume\|weight\|accel\|after\|allow\|build\|burst\|cache\|delay\|dummy\|flood\|group\|image\|label\|model\|owner\|ready\|route\|state\|trunk\|vcpus\|vf-of\|vhost\|write\|bind\|bond\|cost\|cpus\|data\|deny\|disk\|exec\|file\|loss\|mode\|numa\|pids\|pool\|port\|pull\|rate\|read\|size\|swap\|user\|vlan\|bus\|cpu\|env\|mac\|map\|mtu\|nic\|oom\|pin\|run\|ssh\|stp\|tos\|ttl\|vni\|vrf\|do\|io\)\%([0-9A-Za-z_-]\)\@!/
syntax match vlabStatement /\%(^\|[{;}]\)\@<=\s*\zs\%(scenario\|template\|default\|machine\|overlay\|expect\|param\|else\|link\|pool\|vtep\|for\|lab\|let\|use\|if\)\%([0-9A-Za-z_-]\)\@!/
syntax match vlabStatement /}\s*\zselse\%(\s\+if\)\?\%([0-9A-Za-z_-]\)\@!/
syntax match vlabKind /\%(^\|[{;}]\)\@<=\s*\zs\%(container\|bridge\|uplink\|host\|vm\)\%([0-9A-Za-z_-]\)\@!/
syntax match vlabKind /\%(^\|[{;}]\)\@<=\s*\zsdefault\s\+\zs\%(container\|bridge\|uplink\|host\|link\|vm\)\%([0-9A-Za-z_-]\)\@!/
syntax keyword vlabSwitch on off true false
syntax keyword vlabOperator and or not in as reaches runs prints within through tcp split
syntax keyword vlabSpecial self none
syntax match vlabFunction /\<\%(address\|subnet\|len\|max\|min\)(\@=/
syntax match vlabNumber /\%([0-9A-Za-z_.-]\)\@<!\d\+\%(\.\d\+\)\?\%(GiB\/s\|KiB\/s\|MiB\/s\|GB\/s\|Gbit\|MB\/s\|Mbit\|iops\|kB\/s\|kbit\|B\/s\|GHz\|GiB\|KiB\|MHz\|MiB\|TiB\|bit\|kHz\|min\|GB\|Hz\|MB\|TB\|kB\|ms\|us\|%\|B\|h\|s\)\?\%([0-9A-Za-z_-]\)\@!/
syntax match vlabAddress /\<\d\+\%(\.\d\+\)\{3}\%(\/\d\+\)\?/
syntax match vlabAddress /\<\x*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\%(\/\d\+\)\?/
syntax match vlabSign /--\|->\|<-\|\.\./
syntax match vlabEscape /\\["\\nt$]/ contained
syntax region vlabEmbedded matchgroup=vlabEscape start=/\${/ end=/}/ contained oneline contains=vlabNumber,vlabFunction,vlabOperator
syntax region vlabString start=/"/ skip=/\\./ end=/"/ oneline contains=vlabEscape,vlabEmbedded
syntax region vlabString start=/"""/ skip=/\\./ end=/"""/ contains=vlabEscape,vlabEmbedded
syntax match vlabComment /#.*$/ contains=@Spell

highlight default link vlabProperty Identifier
highlight default link vlabStatement Statement
highlight default link vlabKind Type
highlight default link vlabSwitch Boolean
highlight default link vlabOperator Operator
highlight default link vlabSpecial Special
highlight default link vlabFunction Function
highlight default link vlabNumber Number
highlight default link vlabAddress Constant
highlight default link vlabSign Operator
highlight default link vlabEscape SpecialChar
highlight default link vlabString String
highlight default link vlabComment Comment

let b:current_syntax = "vlab"
