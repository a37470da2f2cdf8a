#!/bin/sh
# Makes the certificates of the TLS tests: an authority, a server of localhost,
# a client, a server of another name, and a server whose time is over.
set -eu
cd "$(dirname "$0")"
key() { openssl ecparam -genkey -name prime256v1 -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }
key ca
openssl req -x509 -new -key ca.key -days 36500 -subj "/O=Example/CN=Test Authority" -out ca.crt
leaf() { # NAME SUBJECT EXTENSIONS [OPTIONS]
  name=$1 subject=$2 extensions=$3
  shift 3
  key "$name"
  openssl req -new -key "$name.key" -subj "$subject" -out "$name.csr"
  printf '%b' "$extensions" >"$name.ext"
  openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial \
    -extfile "$name.ext" "$@" -out "$name.crt"
  rm "$name.csr" "$name.ext"
}
leaf server "/O=Example/CN=localhost" "subjectAltName=DNS:localhost,IP:127.0.0.1\n" -days 36500
leaf other "/O=Example/CN=other.example" "subjectAltName=DNS:other.example\n" -days 36500
leaf client "/O=Example/CN=alice" "extendedKeyUsage=clientAuth\n" -days 36500
leaf expired "/O=Example/CN=localhost" "subjectAltName=DNS:localhost,IP:127.0.0.1\n" \
  -days -1
rm -f ca.srl ca.key
