# Bash completion for pith: `source pith.bash`, or install it as
# /usr/share/bash-completion/completions/pith. Verbs, options and methods come from the program
# itself (--help and `plan --list`), so that they are always those of the installed version.

_pith_verbs() {
  "$1" --help 2>/dev/null | sed -n '/^Subcommands:/,/^[A-Z][^:]*[:.]* /s/^  \([a-z]\{1,\}\) .*/\1/p'
}

_pith_options() {
  "$1" ${2:+"$2"} --help 2>/dev/null | sed -n '/^Examples:/q;s/^  \(-., *\)\{0,1\}-*,*\(--[a-z-]\{1,\}\).*/\2/p'
}

_pith_methods() {
  "$1" plan --list 2>/dev/null | sed -n 's/^\([a-z][a-z0-9-]*\)$/\1/p'
}

_pith_tasks() {
  "$1" eval --list 2>/dev/null | sed -n 's/^\([a-z][a-z0-9_]*\) .*/\1/p'
}

_pith_shapes() {
  "$1" bench --help 2>/dev/null | tr ' {},' '\n' | grep -E '^(mamba2?|falcon-mamba|codestral)-[0-9.]+[mb]$' | sort -u
}

# Completes the last part of a list with commas between.
_pith_list() {
  local before=""
  [[ $2 == *,* ]] && before="${2%,*},"
  compopt -o nospace 2>/dev/null
  COMPREPLY=($(compgen -P "$before" -W "$1" -- "${2##*,}"))
}

_pith() {
  local program="${1/#\~/$HOME}" word="${COMP_WORDS[COMP_CWORD]}"
  local before="${COMP_WORDS[COMP_CWORD - 1]}" verb="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -* ]] || { verb="${COMP_WORDS[i]}"; break; }
  done
  COMPREPLY=()
  case "$before" in
    --device) COMPREPLY=($(compgen -W "cpu reference cuda" -- "$word")) ;;
    --state-dtype) COMPREPLY=($(compgen -W "f32 bf16 f16" -- "$word")) ;;
    --dtype) COMPREPLY=($(compgen -W "f32 bf16" -- "$word")) ;;
    --flops) COMPREPLY=($(compgen -W "blocks full" -- "$word")) ;;
    --reduce)
      compopt -o nospace 2>/dev/null
      COMPREPLY=($(compgen -W "$(_pith_methods "$program")" -- "$word"))
      ;;
    --shape) COMPREPLY=($(compgen -W "$(_pith_shapes "$program")" -- "$word")) ;;
    --weights) COMPREPLY=($(compgen -W "f32 bf16" -- "$word")) ;;
    --scoring) COMPREPLY=($(compgen -W "context survivors published-tail paper-first" -- "$word")) ;;
    --tasks) _pith_list "$(_pith_tasks "$program")" "$word" ;;
    --methods) _pith_list "none $(_pith_methods "$program")" "$word" ;;
    --model | --models | --data)
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -d -- "$word"))
      ;;
    --file | --*-file | --items | --recall | --html | --tokenizer | --output | --save-state | --load-state)
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -f -- "$word"))
      ;;
    --text)
      [[ $verb == calibrate ]] || return
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -f -- "$word"))
      ;;
    --prompt | --context | --continuation | --stop | --sites | --site | --seed | \
      --threads | --length | --max-tokens | --temperature | --top-k | --top-p | --min-p | \
      --repetition-penalty | --budget | --sigmas | --windows | --contexts | --tail | \
      --batch | --decode | --repeats) ;;
    *)
      if [[ -z $verb && $word != -* ]]; then
        COMPREPLY=($(compgen -W "$(_pith_verbs "$program")" -- "$word"))
      elif [[ $verb == reproduce && $word != -* ]]; then
        COMPREPLY=($(compgen -W "table1 table2 table3 table4 table5 table6 all" -- "$word"))
      else
        COMPREPLY=($(compgen -W "$(_pith_options "$program" "$verb")" -- "$word"))
      fi
      ;;
  esac
}

complete -F _pith pith
