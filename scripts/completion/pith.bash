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

_pith() {
  local program="${1/#\~/$HOME}" word="${COMP_WORDS[COMP_CWORD]}"
  local before="${COMP_WORDS[COMP_CWORD - 1]}" verb="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -* ]] || { verb="${COMP_WORDS[i]}"; break; }
  done
  COMPREPLY=()
  case "$before" in
    --device) COMPREPLY=($(compgen -W "cpu reference cuda" -- "$word")) ;;
    --dtype) COMPREPLY=($(compgen -W "f32 bf16" -- "$word")) ;;
    --flops) COMPREPLY=($(compgen -W "blocks full" -- "$word")) ;;
    --reduce)
      compopt -o nospace 2>/dev/null
      COMPREPLY=($(compgen -W "$(_pith_methods "$program")" -- "$word"))
      ;;
    --model)
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -d -- "$word"))
      ;;
    --file | --*-file | --items | --tokenizer | --output | --save-state | --load-state)
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -f -- "$word"))
      ;;
    --prompt | --context | --continuation | --text | --stop | --sites | --site | --seed | \
      --threads | --length | --max-tokens | --temperature | --top-k | --top-p | --min-p | \
      --repetition-penalty) ;;
    *)
      if [[ -z $verb && $word != -* ]]; then
        COMPREPLY=($(compgen -W "$(_pith_verbs "$program")" -- "$word"))
      else
        COMPREPLY=($(compgen -W "$(_pith_options "$program" "$verb")" -- "$word"))
      fi
      ;;
  esac
}

complete -F _pith pith
