#!/bin/sh
# runc for machines that withhold CAP_SYS_RESOURCE: takes it out of what a container asks for, and raises an adjustment
# of the OOM score that would need it. usage: as runc; dockerd --add-runtime NAME=THIS --default-runtime NAME
set -eu
bundle=.
file=
previous=
command=
for word in "$@"; do
  case $previous in
    --bundle | -b) bundle=$word ;;
    --process | -p) file=$word ;;
  esac
  case $word in create | run | exec) command=${command:-$word} ;; esac
  previous=$word
done
change() {
  jq "$2" "$1" > "$1.changed" && cat "$1.changed" > "$1" && rm "$1.changed"
}
caps='if .capabilities then .capabilities |= with_entries(.value |= ((. // []) - ["CAP_SYS_RESOURCE"])) else . end'
score='if (.oomScoreAdj // 0) < 0 then .oomScoreAdj = 0 else . end'
case $command in
  create | run) change "$bundle/config.json" ".process |= ($caps | $score)" ;;
  exec) [ -z "$file" ] || change "$file" "$caps | $score" ;;
esac
exec runc "$@"
