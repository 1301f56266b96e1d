import type { Shell } from "./shells.ts";
import type { CompletionNode } from "./tree.ts";

const PROGRAM = "cluster-connect";
/** Flags whose value is a file. */
const FILE_FLAGS = [
  ...["-f", "--file", "--ca-file", "--token-file", "--relay-token-file", "--ready-file", "--bundle"],
  ...["--authentication", "--code-file", "--values", "--certificate", "--client-secret-file", "--kubeconfig"],
];

/** A script that makes a shell complete this program's commands, flags and clusters. */
export function completionScript(shell: Shell, tree: readonly CompletionNode[]): string {
  switch (shell) {
    case "bash":
      return bash(tree);
    case "zsh":
      return zsh(tree);
    case "fish":
      return fish(tree);
    case "powershell":
      return powershell(tree);
  }
}

function words({ commands, flags, choices: own }: CompletionNode): string {
  return [...own, ...commands.map(({ name }) => name), ...flags.map(({ name }) => name)].join(" ");
}

/** Flags whose value has a choice, as shell patterns. */
function choices(tree: readonly CompletionNode[]): readonly (readonly [string, string])[] {
  const found = tree.flatMap(({ path, flags }) =>
    flags
      .filter(({ choices: values }) => values.length > 0)
      .map(({ name, choices: values }): readonly [string, string] => [`${path}:${name}`, values.join(" ")]),
  );
  return [...new Map(found)];
}

/** Flags whose value is a context of the kubeconfig, as keys of {@link choices}. */
function contextFlags(tree: readonly CompletionNode[]): readonly string[] {
  return tree.flatMap(({ path, flags }) =>
    flags.filter(({ isContext }) => isContext).map(({ name }) => `${path}:${name}`),
  );
}

function bash(tree: readonly CompletionNode[]): string {
  const byPath = tree.map((node) => `    "${node.path}") words="${words(node)}" ;;`);
  const byFlag = choices(tree).map(([key, values]) => `    "${key}") words="${values}" ;;`);
  const paths = tree.map(({ path }) => path).filter((path) => path !== "");
  return `_cluster_connect() {
  local word path="" current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words=""
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${path:+$path }$word" in
      ${paths.map((path) => `"${path}"`).join("|")}) path="\${path:+$path }$word" ;;
      *" --") return ;;
    esac
  done
  case "$previous" in
    -n|--name) words="$(${PROGRAM} clusters --output name 2>/dev/null)" ;;
    ${FILE_FLAGS.join("|")}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  case "$path:$previous" in
${byFlag.join("\n")}
${contextFlags(tree)
  .map((key) => `    "${key}") words="$(kubectl config get-contexts -o name 2>/dev/null)" ;;`)
  .join("\n")}
  esac
  if [ -z "$words" ]; then
    case "$path" in
${byPath.join("\n")}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _cluster_connect ${PROGRAM}
`;
}

/** Works as a file of `fpath`, and when it is sourced. No variable is called `path`: in zsh that is PATH. */
function zsh(tree: readonly CompletionNode[]): string {
  const byPath = tree.map((node) => `      (${quoteForZsh(node.path)}) offered=${quoteForZsh(words(node))} ;;`);
  const byFlag = choices(tree).map(([key, values]) => `    (${quoteForZsh(key)}) offered=${quoteForZsh(values)} ;;`);
  const paths = tree.map(({ path }) => path).filter((path) => path !== "");
  return `#compdef ${PROGRAM}
_cluster_connect() {
  local word place="" offered="" previous="\${words[CURRENT-1]}"
  for word in "\${(@)words[2,CURRENT-1]}"; do
    [[ "$word" == -- ]] && { _default; return }
    case "\${place:+$place }$word" in
      (${paths.map(quoteForZsh).join("|")}) place="\${place:+$place }$word" ;;
    esac
  done
  case "$place:$previous" in
${byFlag.join("\n")}
${contextFlags(tree)
  .map(
    (key) =>
      `    (${quoteForZsh(key)}) compadd -- \${(f)"$(kubectl config get-contexts -o name 2>/dev/null)"}; return ;;`,
  )
  .join("\n")}
  esac
  case "$previous" in
    (-n|--name) compadd -- \${(f)"$(${PROGRAM} clusters --output name 2>/dev/null)"}; return ;;
    (${FILE_FLAGS.join("|")}) _files; return ;;
  esac
  if [[ -z "$offered" ]]; then
    case "$place" in
${byPath.join("\n")}
    esac
  fi
  compadd -- \${=offered}
}
if [[ "\${funcstack[1]}" == _${PROGRAM} ]]; then _cluster_connect "$@"; else compdef _cluster_connect ${PROGRAM}; fi
`;
}

function quoteForZsh(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

function fish(tree: readonly CompletionNode[]): string {
  const lines = [`complete -c ${PROGRAM} -f`];
  for (const { path, commands, flags, choices: own } of tree) {
    const inside =
      path === ""
        ? "__fish_use_subcommand"
        : path
            .split(" ")
            .map((word) => `__fish_seen_subcommand_from ${word}`)
            .join("; and ");
    if (own.length > 0) lines.push(`complete -c ${PROGRAM} -n ${quote(inside)} -a ${quote(own.join(" "))}`);
    for (const { name, description } of commands) {
      lines.push(`complete -c ${PROGRAM} -n ${quote(inside)} -a ${name} -d ${quote(description)}`);
    }
    for (const { name, description, takesValue, choices: values, isCluster, isContext } of flags) {
      const flag = name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`;
      const offered = isCluster
        ? `(${PROGRAM} clusters --output name 2>/dev/null)`
        : isContext
          ? "(kubectl config get-contexts -o name 2>/dev/null)"
          : values.join(" ");
      const value = takesValue ? ` -r${offered === "" ? " -F" : ` -a ${quote(offered)}`}` : "";
      lines.push(`complete -c ${PROGRAM} -n ${quote(inside)} ${flag}${value} -d ${quote(description)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function powershell(tree: readonly CompletionNode[]): string {
  const single = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  const byPath = tree.map((node) => `    ${single(node.path)} = ${single(words(node))}`);
  const byFlag = choices(tree).map(([key, values]) => `    ${single(key)} = ${single(values)}`);
  return `Register-ArgumentCompleter -Native -CommandName ${PROGRAM} -ScriptBlock {
  param($current, $ast, $cursor)
  $paths = @{
${byPath.join("\n")}
  }
  $choices = @{
${byFlag.join("\n")}
  }
  $typed = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() })
  if ($current -ne '' -and $typed.Count -gt 0) { $typed = @($typed | Select-Object -SkipLast 1) }
  $path = ''
  foreach ($word in $typed) {
    $next = ($path + ' ' + $word).Trim()
    if ($paths.ContainsKey($next)) { $path = $next }
  }
  $previous = if ($typed.Count -gt 0) { $typed[-1] } else { '' }
  $words = if ($previous -eq '-n' -or $previous -eq '--name') { ${PROGRAM} clusters --output name 2>$null }
    elseif ($choices.ContainsKey($path + ':' + $previous)) { $choices[$path + ':' + $previous] -split ' ' }
    else { $paths[$path] -split ' ' }
  $words | Where-Object { $_ -like ($current + '*') } | ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
}
`;
}
