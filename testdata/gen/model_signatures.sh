#!/bin/sh
# Signs two of the test models with OpenSSF Model Signing's own tool, by keys of two
# curves and by a certificate. Keys are thrown away: every run makes others.
# usage: testdata/gen/model_signatures.sh (needs python3-venv, openssl and PyPI)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$root/testdata/fixtures/modelsign
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q model-signing==1.1.1 pyopenssl
sign="$work/venv/bin/model_signing sign"
mkdir -p "$out" "$work/vision/parts"
cp "$root/testdata/models/vit-1.safetensors" "$work/vision/"
cp "$root/testdata/models/conv-1.safetensors" "$work/vision/parts/"
cd "$work"
for curve in prime256v1 secp384r1; do
	openssl ecparam -name $curve -genkey -noout -out key.pem
	openssl ec -in key.pem -pubout -out "$out/$curve.pem" 2>/dev/null
	$sign key vision --private_key key.pem --signature "$out/$curve.sig"
done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out "$out/ca.pem" -days 36500 -subj "/CN=Test CA" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout leaf.key -out leaf.csr -subj "/CN=release@example.org" 2>/dev/null
printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\nbasicConstraints=CA:FALSE\n' >ext
openssl x509 -req -in leaf.csr -CA "$out/ca.pem" -CAkey ca.key -CAcreateserial -days 36500 -extfile ext -out leaf.pem 2>/dev/null
$sign certificate vision --private_key leaf.key --signing_certificate leaf.pem --certificate_chain "$out/ca.pem" --signature "$out/certificate.sig"
chmod a+r "$out"/*
