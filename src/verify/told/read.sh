# Says what `noded-proxy verify` needs of a node that has no such program. It runs as root, reads, and
# writes nothing. No private key, password or configuration leaves the node: of a key its public half
# does, of a user of the remote API whether the password can be read and what he may do.
#
#   sh -s -- ROOT DATA SERVER_PEM MAP
#
# Each line is one fact; nothing is believed that does not end with "end".
#   e PATH MODE UID GID MTIME   it is there
#   c PATH BASE64               its content, but for secrets
#   p PATH BASE64               the public half of the key in it
#   k PATH                      there is a key in it that has no public half
#   x PATH                      it is not read: a link of a stranger's, or no regular file
#   u WORD                      what cannot be told
set -u
root=$1 data=$2 server=$3 map=$4
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
cd / || exit 1
echo "noded-proxy-read 1"

entry() {
  case $1 in *[!A-Za-z0-9._@+=:,/-]*) echo "u names"; return 1;; esac
  [ -e "$root$1" ] && stat -L -c "e $1 %a %u %g %Y" "$root$1"
}
entries() {   # all in a directory, up to a number
  local path n=0
  for path in "$root$1"/* "$root$1"/.[!.]*; do
    [ -e "$path" ] || continue
    n=$((n + 1)); [ $n -le 2000 ] || { echo "u more"; return; }
    "$2" "${path#"$root"}"
  done
}
readable() {   # an entry that may be read
  entry "$1" || return 1
  if [ -L "$root$1" ] && [ "$(stat -c %u "$root$1")" != 0 ]; then echo "x $1"; return 1; fi
  [ -f "$root$1" ] || { echo "x $1"; return 1; }
}
begin() { head -c "$2" <"$root$1"; }
say() { printf '%s %s ' "$1" "$2"; base64 -w 0; echo; }
content() { readable "$1" && begin "$1" "$2" | say c "$1"; }
text() { content "$1" 65537; }

certificate() {   # the certificates of a file, and the public half of its key
  readable "$1" || return
  begin "$1" 1048576 | sed '/-----BEGIN [A-Z ]*PRIVATE KEY-----/,/-----END [A-Z ]*PRIVATE KEY-----/d' |
    sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/p' | say c "$1"
  command -v openssl >/dev/null || { echo "u openssl"; return; }
  half=$(begin "$1" 1048576 | openssl pkey -passin pass: -pubout 2>/dev/null) || { echo "k $1"; return; }
  printf '%s\n' "$half" | say p "$1"
}
key() {   # a file in root's directory of keys
  case ${1##*/} in authorized_keys|authorized_keys2) return;; esac
  [ -f "$root$1" ] && readable "$1" || return
  if begin "$1" 65536 | grep -q 'PRIVATE KEY-----'; then
    command -v ssh-keygen >/dev/null || { echo "u ssh-keygen"; return; }
    half=$(begin "$1" 65536 | ssh-keygen -y -P '' -f /dev/stdin 2>/dev/null) || { echo "k $1"; return; }
    printf '%s\n' "$half" | say p "$1"
  elif begin "$1" 65536 | grep -qE '^[[:space:]]*(ssh-|ecdsa-|sk-)[^ ]+ AAAA'; then
    begin "$1" 65536 | grep -E '^[[:space:]]*(ssh-|ecdsa-|sk-)[^ ]+ AAAA' | head -n 1 | say c "$1"
  fi
}
of_data() {
  entry "$1"
  case $1 in "$data"/client.pem.backup-*|"$data"/rapi.pem|"$data"/spice.pem|"$data"/spice-ca.pem) certificate "$1";; esac
}
configuration() { case $1 in *.conf) text "$1";; esac; }
hooks() { entry "$1" && [ -d "$root$1" ] && entries "$1" entry; }
host_key() { case $1 in */ssh_host_*_key) entry "$1";; esac; }
move() { case $1 in */x509-*) entry "$1/key";; esac; }

readable /etc/passwd && begin /etc/passwd 1048576 |
  sed -n 's/^\([^:]*\):[^:]*:\([0-9]*\):\([0-9]*\):[^:]*:\([^:]*\):.*$/\1:x:\2:\3::\4:/p' | say c /etc/passwd
readable /etc/group && begin /etc/group 1048576 |
  sed -n 's/^\([^:]*\):[^:]*:\([0-9]*\):.*$/\1:x:\2:/p' | say c /etc/group
entry "$data"
entries "$data" of_data
for name in node_list master_candidates offline_nodes master_node; do
  content "$data/ssconf_$name" 1048577
done
content "$map" 1048577
content "$data/ganeti_pub_keys" 4194305
readable "$data/rapi/users" && begin "$data/rapi/users" 1048576 | awk '!/^[ \t]*#/ && NF >= 2 {
  print $1, (tolower(substr($2, 1, 5)) == "{ha1}" ? "{HA1}" : "x"), ($3 ~ /(^|,)write(,|$)/ ? "write" : "read") }' |
  say c "$data/rapi/users"
certificate "$server"
certificate "${server%/*}/client.pem"
home=$(begin /etc/passwd 1048576 | sed -n 's/^root:[^:]*:[^:]*:[^:]*:[^:]*:\(\/[^:]*\):.*/\1/p' | head -n 1)
home=${home:-/root}
entry "$home"
entry "$home/.ssh"
entries "$home/.ssh" key
content "$home/.ssh/authorized_keys" 4194305
content "$home/.ssh/authorized_keys2" 4194305
text /etc/ssh/sshd_config
entries /etc/ssh/sshd_config.d configuration
for dir in /etc/ganeti/hooks /usr/local/etc/ganeti/hooks; do entry "$dir" && entries "$dir" hooks; done
for name in '' /noded-proxy.toml /noded-proxy-guard.nft; do entry "/etc/noded-proxy$name"; done
entries /etc/ssh host_key
entries /run/ganeti/crypto move
entries /run/ganeti/import-export entry
echo end
