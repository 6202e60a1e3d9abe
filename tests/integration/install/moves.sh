# shellcheck shell=bash disable=SC2154
# Parts of install.sh: `install --moves` and `uninstall --moves`, with the real dpkg on a database of its own
# and a small package in the place of Ganeti's. At each moment a program for transfers is there that works.

G=/usr/lib/ganeti/import-export

# ganeti N: version N of the package; its program says who does a transfer, and goes on until it is let go
ganeti() {
  local tree=$STAND/ganeti.$1
  mkdir -p "$tree/DEBIAN" "$tree/usr/lib/ganeti/default"
  printf '%s\n' 'Package: ganeti' "Version: $1" 'Architecture: all' 'Maintainer: x <x@x>' 'Description: x' >"$tree/DEBIAN/control"
  cat >"$tree/usr/lib/ganeti/default/import-export" <<PROGRAM
#!/bin/sh
echo "ganeti $1: \$*"
while [ -e $STAND/hold ]; do sleep 0.02; done
PROGRAM
  chmod 755 "$tree/usr/lib/ganeti/default/import-export"
  ln -sf default/import-export "$tree$G"
  dpkg-deb --build "$tree" "$STAND/ganeti.deb" >/dev/null
  dpkg --log=/dev/null -i "$STAND/ganeti.deb" >/dev/null 2>"$STAND/dpkg"
}

with_ganeti() {
  local tool
  mount -t tmpfs -o mode=755 none /usr/lib/ganeti && mount -t tmpfs -o mode=755 none /var/lib/dpkg
  mkdir /var/lib/dpkg/info /var/lib/dpkg/updates; touch /var/lib/dpkg/status /var/lib/dpkg/available
  # As the unit has it: a program that knows `import-export`, which says so.
  printf '#!/bin/sh\n[ "$1" = import-export ] || exec %s "$@"\nshift; echo "ours: $*"\n' "$PROGRAM" >"$STAND/program"
  chmod 755 "$STAND/program"; export UNIT_PROGRAM=$STAND/program
  tool=$(command -v dpkg-divert)
  cat >"$STAND/bin/dpkg-divert" <<DIVERT
#!/bin/bash
. "\$STAND/lib"
verb=\$(printf '%s\n' "\$@" | grep -E '^--(add|remove)$' || true)
[[ -z \$verb ]] || told_to_fail before divert "\$verb"
$tool "\$@" || exit
[[ -z \$verb ]] || told_to_fail after divert "\$verb"
DIVERT
  chmod 755 "$STAND/bin/dpkg-divert"
  ganeti 1
}

who() { "$G" '/run/s t' import --x; }
# whole: nobody is left out who knows of the place
picture() {
  (cd /usr/lib/ganeti && find . -type f -exec md5sum {} + -o -type l -printf '%p -> %l\n' | sort)
  "$(command -v dpkg-divert)" --list '*import-export*'; dpkg --verify ganeti
  [[ -e $node/undo ]] && echo "kept: $(ls "$node/undo")" || echo "nothing kept"
}
tidy() { sed "s|$STAND|STAND|g" | said_by; }
said_by() { sed "s|$node|NODE|g"; }
checked() { "$program" check --offline --config "$node/config.toml" --noded-defaults "$defaults" | sed -n "s|$STAND|STAND|g; / moves: /p" || true; }

part_moves() {   # shown, done, nothing to do; a newer Ganeti; undone byte for byte
  with_ganeti; local untouched; untouched=$(picture)
  cli install --moves; tidy <"$STAND/said"; same "$untouched" "$(picture)"; who
  cli install --moves --apply; tidy <"$STAND/said"; who
  cli install --moves --apply; tidy <"$STAND/said"
  cli uninstall --moves; tidy <"$STAND/said"
  cli uninstall --moves --apply; tidy <"$STAND/said"; same "$untouched" "$(picture)"; who
  cli uninstall --moves --apply; tidy <"$STAND/said"
  cli install --moves --apply; ganeti 2; who; "$G.ganeti" x
  cli uninstall --moves --apply; who; ganeti 3; who
  ganeti 1; same "$untouched" "$(picture)"
}

part_moves_check() {   # who does transfers, and whether the place is whole
  with_ganeti; echo "untouched: $(checked)"
  cli install --moves --apply; checked
  dpkg-divert --quiet --package noded-proxy --no-rename --remove "$G"; checked; cli install --moves --apply; checked
  mv "$STAND/program" "$STAND/away"; checked; who; mv "$STAND/away" "$STAND/program"
  mv "$G.ganeti" "$STAND/away"; checked; mv "$STAND/away" "$G.ganeti"
  cli uninstall --moves --apply; echo "untouched: $(checked)"
}

part_moves_killed() {   # killed at dpkg's part: a program is there, and the next run ends it, either way
  with_ganeti; local when verb next untouched; untouched=$(picture)
  for next in install uninstall; do
    for when in before after; do
      echo "$when divert --add" >"$STAND/kill"
      cli install --moves --apply; who >"$STAND/who" || echo "NOT: nothing there"; ganeti 1
      cli "$next" --moves --apply; who
      cli uninstall --moves --apply; same "$untouched" "$(picture)"
      cli install --moves --apply; echo "$when divert --remove" >"$STAND/kill"
      cli uninstall --moves --apply; who >"$STAND/who" || echo "NOT: nothing there"; ganeti 1
      cli "$next" --moves --apply; who
      cli uninstall --moves --apply; same "$untouched" "$(picture)"
    done
  done
}

part_moves_fail() {   # what fails is taken back
  with_ganeti; local when before
  for when in before after; do
    before=$(picture); echo "$when divert --add" >"$STAND/fail"
    cli install --moves --apply; same "$before" "$(picture)"
    cli install --moves --apply; before=$(picture); echo "$when divert --remove" >"$STAND/fail"
    cli uninstall --moves --apply; tidy <"$STAND/said" | sed -n "s/Removing '.*' told/told/; \$p"; same "$before" "$(picture)"
    cli uninstall --moves --apply
  done
}

part_moves_busy() {   # a transfer runs
  with_ganeti; local before; before=$(picture)
  touch "$STAND/hold"; "$G" /run/s import >/dev/null & local transfer=$!
  await test -e "/proc/$transfer/cmdline"; await grep -q import "/proc/$transfer/cmdline"
  cli install --moves; tail -n 2 "$STAND/said"
  cli install --moves --apply; cat "$STAND/said"; same "$before" "$(picture)"
  cli install --moves --apply --now; who
  { cli uninstall --moves --apply --wait >"$STAND/status"; } & local uninstall=$!
  await grep -q '^wait' "$STAND/said"; who
  rm "$STAND/hold"; wait "$transfer"; wait "$uninstall"; cat "$STAND/status"; head -n 1 "$STAND/said"
  same "$before" "$(picture)"
}

part_moves_plain() {   # no dpkg has it, and somebody installs another Ganeti over it
  mkdir -p "$node/g"; with_ganeti; cp "$G" "$node/g/import-export"; G=$node/g/import-export
  local before; before=$(cd "$node/g" && md5sum ./*)
  cli install --moves --apply --import-export "$G"; tidy <"$STAND/said"; who
  cli install --moves --apply --import-export "$G"; tidy <"$STAND/said"
  cli install --moves --import-export /usr/lib/ganeti/import-export; tidy <"$STAND/said"
  cli uninstall --moves --apply; tidy <"$STAND/said"; same "$before" "$(cd "$node/g" && md5sum ./*)"
  cli install --moves --apply --import-export "$G"
  printf '#!/bin/sh\necho newer\n' >"$STAND/newer"; install -m 755 "$STAND/newer" "$G"; who
  cli install --moves --apply; who; cli uninstall --moves --apply; who; ls "$node/g"
}

part_moves_rest() {   # `uninstall` of all takes it along; what cannot be taken holds up nobody
  with_ganeti; local untouched installed; untouched=$(picture; state)
  cli install --apply --now; cli install --moves --apply; installed=$(picture; state)
  echo 'after systemctl disable noded-proxy.service' >"$STAND/fail"
  cli uninstall --apply --now; same "$installed" "$(picture; state)"
  cli uninstall --apply --now; grep -c import-export "$STAND/said"; same "$untouched" "$(picture; state)"
  cli install --apply --now; cli install --moves --apply; rm "$G"; printf '#!/bin/sh\necho mine\n' >"$G"; chmod 755 "$G"
  cli uninstall --apply --now; grep ^note "$STAND/said"; same "$before" "$(state | sed 's/^kept: .*/nothing kept/')"; who
}

part_moves_removal() {   # the package goes, or makes room for one that knows no transfers
  with_ganeti; with_package; local untouched; untouched=$(picture; state)
  cli install --moves --apply; prerm remove; same "$untouched" "$(picture; state)"
  cli install --moves --apply; prerm upgrade 0.2.1; who; prerm upgrade 0.1.0; same "$untouched" "$(picture; state)"
  # Killed in the middle, and a program that can do nothing.
  printf '#!/bin/sh\nexit 1\n' >"$STAND/bin/noded-proxy"
  cli install --moves --apply; prerm remove; tidy <"$STAND/said"; same "$untouched" "$(picture; state)"
  echo 'after divert --add' >"$STAND/kill"; cli install --moves --apply; prerm remove; same "$untouched" "$(picture; state)"
  cli install --moves --apply; rm "$G"; printf '#!/bin/sh\necho mine\n' >"$G"; chmod 755 "$G"; prerm remove; tidy <"$STAND/said"; who
}

part_moves_refused() {   # nothing is done, and it says why
  with_ganeti; local before; before=$(picture)
  chmod 757 "$STAND/program"; cli install --moves --apply; tidy <"$STAND/said"
  printf '#!/bin/sh\nexit 2\n' >"$STAND/old"; chmod 755 "$STAND/old"; UNIT_PROGRAM=$STAND/old cli install --moves --apply; tidy <"$STAND/said"
  chmod 755 "$STAND/program"; chmod 777 /usr/lib/ganeti; cli install --moves --apply; tidy <"$STAND/said"; chmod 755 /usr/lib/ganeti
  cli install --moves --apply --import-export "$node/none"; tidy <"$STAND/said"
  cli install --moves --apply --import-export "$node/a b"; tidy <"$STAND/said"
  same "$before" "$(picture)"
  dpkg-divert --quiet --local --no-rename --add "$G"; cli install --moves --apply; tidy <"$STAND/said"
  dpkg-divert --quiet --local --no-rename --remove "$G"; same "$before" "$(picture)"
  cli install --moves --hooks; grep -o 'cannot be used with .*' "$STAND/said"
  cli install --moves --apply; rm "$G"; printf '#!/bin/sh\necho mine\n' >"$G"; chmod 755 "$G"
  cli uninstall --moves --apply; tidy <"$STAND/said"; who; rm "$G"; cli install --moves --apply; who
  dpkg --log=/dev/null -r ganeti >/dev/null 2>&1; cli uninstall --moves --apply; tidy <"$STAND/said"; ls /usr/lib/ganeti
}
