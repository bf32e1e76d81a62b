# Makes a fresh Debian 12 into Kafka and Tidegate on one small machine. cloud-init runs it as root at the first boot; run again, it changes nothing that is
# already as it should be. What comes before it in the user data sets the variables that it names here, and puts the files of the units below $FILES.
#
# ROOT is a folder to work in instead of /, for the tests.
set -euo pipefail
umask 022

: "${ROOT:=}" "${FILES:?}"
: "${ARTIFACT_BUCKET:?}" "${TIDEGATE_KEY:?}" "${TIDEGATE_SHA256:?}" "${SSM_AGENT_KEY:?}" "${SSM_AGENT_SHA256:?}"
: "${KAFKA_URL:?}" "${KAFKA_SHA512:?}" "${LAKE_LOCATION:?}" "${REGION:?}" "${COMMIT_INTERVAL:?}" "${SWAP_MIB:?}"

say() { printf 'tidegate: %s\n' "$*"; }

# place FILE TARGET MODE: nothing is written where it is there already, and never half of a file.
place() {
    local target="$ROOT$2"
    if ! cmp --silent "$1" "$target"; then
        mkdir -p "${target%/*}"
        install -m "$3" "$1" "$target.new"
        mv "$target.new" "$target"
        say "$2 is new"
    fi
}

# fetched SUM FILE WHAT COMMAND…: runs the command, which makes the file, unless the file is there; and holds it to the checksum.
fetched() {
    local sum="$1" file="$2" what="$3"
    shift 3
    if [[ ! -e "$file" ]] || ! matches "$sum" "$file"; then
        "$@"
    fi
    if ! matches "$sum" "$file"; then
        say "$what is not what its checksum says: nothing of it is used" >&2
        rm -f "$file"
        exit 1
    fi
}

matches() {
    local tool=sha256sum
    [[ ${#1} -eq 128 ]] && tool=sha512sum
    echo "$1  $2" | "$tool" --check --status
}

# Before anything needs memory: a JVM, apt and the AWS CLI together are more than a machine of 1 GiB has.
swap() {
    local file="$ROOT/swapfile"
    if [[ ! -e "$file" ]]; then
        say "$SWAP_MIB MiB of swap"
        (umask 077 && dd if=/dev/zero of="$file.new" bs=1M count="$SWAP_MIB" status=none)
        mkswap "$file.new" > /dev/null
        mv "$file.new" "$file"
    fi
    grep -q '^/swapfile ' "$ROOT/etc/fstab" || echo '/swapfile none swap sw 0 0' >> "$ROOT/etc/fstab"
    swapon --show=NAME --noheadings | grep -qx "$file" || swapon "$file"
}

packages() {
    local wanted=(awscli ca-certificates curl openjdk-17-jre-headless)
    if dpkg-query --show "${wanted[@]}" > /dev/null 2>&1; then
        return
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet
    apt-get install --quiet --yes --no-install-recommends "${wanted[@]}"
}

# The way in: Debian's image has no agent of Systems Manager, and there is no SSH.
agent() {
    local package="$ROOT/var/cache/tidegate/amazon-ssm-agent.deb"
    fetched "$SSM_AGENT_SHA256" "$package" "the agent of Systems Manager" \
        aws s3 cp --only-show-errors --region "$REGION" "s3://$ARTIFACT_BUCKET/$SSM_AGENT_KEY" "$package"
    dpkg-query --show amazon-ssm-agent > /dev/null 2>&1 || dpkg --install "$package"
}

kafka() {
    local tarball="$ROOT/var/cache/tidegate/kafka.tgz" folder="$ROOT/opt/kafka"
    if [[ "$(cat "$folder/made-from" 2> /dev/null)" == "$KAFKA_SHA512" ]]; then
        return
    fi
    fetched "$KAFKA_SHA512" "$tarball" "Kafka" curl --fail --silent --show-error --location --retry 5 --output "$tarball" "$KAFKA_URL"
    rm -rf "$folder.new"
    mkdir -p "$folder.new"
    tar --extract --gzip --file "$tarball" --directory "$folder.new" --strip-components 1 --no-same-owner
    echo "$KAFKA_SHA512" > "$folder.new/made-from"
    rm -rf "$folder"
    mv "$folder.new" "$folder"
    rm "$tarball"
    say "Kafka is in /opt/kafka"
}

program() {
    local program="$ROOT/var/cache/tidegate/tidegate"
    if [[ -e "$ROOT/usr/local/bin/tidegate" ]] && matches "$TIDEGATE_SHA256" "$ROOT/usr/local/bin/tidegate"; then
        return
    fi
    fetched "$TIDEGATE_SHA256" "$program" "tidegate" \
        aws s3 cp --only-show-errors --region "$REGION" "s3://$ARTIFACT_BUCKET/$TIDEGATE_KEY" "$program"
    place "$program" /usr/local/bin/tidegate 755
    rm "$program"
}

settings() {
    local name
    for name in kafka tidegate; do
        place "$FILES/$name.service" "/etc/systemd/system/$name.service" 644
    done
    place "$FILES/small.conf" /etc/systemd/system/tidegate.service.d/small.conf 644
    place "$FILES/tidegate.sysusers" /etc/sysusers.d/tidegate.conf 644
    place "$FILES/journald.conf" /etc/systemd/journald.conf.d/tidegate.conf 644
    place "$FILES/server.properties" /etc/kafka/server.properties 644
    place "$FILES/log4j2.properties" /etc/kafka/log4j2.properties 644
    place "$FILES/tidegate.toml" /etc/tidegate/tidegate.toml 644
    # What is this machine's own.
    printf 'TIDEGATE_LAKE__LOCATION=%s\nTIDEGATE_PIPELINE__COMMIT_INTERVAL=%s\nTIDEGATE_LAKE__S3__REGION=%s\n' "$LAKE_LOCATION" "$COMMIT_INTERVAL" "$REGION" > "$FILES/tidegate.env"
    place "$FILES/tidegate.env" /etc/tidegate/tidegate.env 600
    if [[ ! -e "$ROOT/etc/kafka/kafka.env" ]]; then
        # 16 bytes, as Kafka writes its ids; made once, for the folder of the log is bound to it.
        printf 'KAFKA_CLUSTER_ID=%s\n' "$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '=')" > "$FILES/kafka.env"
        place "$FILES/kafka.env" /etc/kafka/kafka.env 600
    fi
    systemd-sysusers ${ROOT:+--root="$ROOT"} tidegate.conf
}

services() {
    systemctl daemon-reload
    systemctl restart systemd-journald
    systemctl enable --now amazon-ssm-agent
    systemctl enable kafka tidegate
    # Settings and programs may be new: what runs is started again.
    systemctl restart kafka
    systemctl restart tidegate
}

mkdir -p "$ROOT/var/cache/tidegate"
swap
packages
agent
kafka
program
settings
services
say "done"
