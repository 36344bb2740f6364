#![expect(clippy::disallowed_methods, reason = "tests start `ssh-keygen` and `gpg`")]

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::git::Repository;
use crate::git::testing::{Origin, git_command};

fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).env("GNUPGHOME", folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is installed: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An SSH key of this kind, made by the real program.
fn key(folder: &Path, name: &str, kind: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let file = path.to_str().unwrap();
    run(folder, "ssh-keygen", &[&["-q", "-N", "", "-C", "test", "-f", file], kind].concat());
    path
}

/// `SHA256:…` of a public key or certificate.
fn printed(file: &Path) -> String {
    let line = run(file.parent().unwrap(), "ssh-keygen", &["-l", "-f", file.to_str().unwrap()]);
    line.split(' ').nth(1).unwrap().to_owned()
}

/// What is read of a commit that the real `git` signs with these settings.
fn signed(origin: &Origin, settings: &[String]) -> Option<Signature> {
    let settings = settings.iter().flat_map(|setting| ["-c", setting]);
    let arguments: Vec<&str> =
        settings.chain(["commit", "-q", "--allow-empty", "-S", "-m", "signed"]).collect();
    let mut command = git_command(&origin.work(), &arguments);
    let output = command.env("GNUPGHOME", origin.folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Repository::discover(&origin.work()).unwrap().commit(&origin.head()).unwrap().signature
}

fn by_ssh(file: &Path) -> [String; 2] {
    ["gpg.format=ssh".into(), format!("user.signingKey={}", file.display())]
}

#[test]
fn the_key_of_an_ssh_signature_is_told_as_ssh_keygen_tells_it() {
    for format in ["sha1", "sha256"] {
        let origin = Origin::with_format(format);
        for (name, kind, key_type) in [
            ("ed", &["-t", "ed25519"][..], "ssh-ed25519"),
            ("rsa", &["-t", "rsa", "-b", "2048"], "ssh-rsa"),
            ("ec", &["-t", "ecdsa", "-b", "384"], "ecdsa-sha2-nistp384"),
        ] {
            let file = key(origin.folder(), name, kind);
            let found = signed(&origin, &by_ssh(&file)).expect("it is signed");
            assert_eq!(found.format, SignatureFormat::Ssh);
            assert_eq!(found.key_type.as_deref(), Some(key_type));
            assert_eq!(found.key.as_deref(), Some(&*printed(&file.with_extension("pub"))), "{key_type}");
        }
    }
}

#[test]
fn of_a_certificate_the_key_within_is_told() {
    let origin = Origin::new();
    let ca = key(origin.folder(), "ca", &["-t", "ed25519"]);
    for (name, kind) in [("ed", "ed25519"), ("rsa", "rsa"), ("ec", "ecdsa")] {
        let file = key(origin.folder(), name, &["-t", kind]);
        let public = file.with_extension("pub");
        let arguments = ["-q", "-s", ca.to_str().unwrap(), "-I", "ada", public.to_str().unwrap()];
        run(origin.folder(), "ssh-keygen", &arguments);
        let certificate = origin.folder().join(format!("{name}-cert.pub"));
        // The private half is looked for beside it, under the name without `-cert.pub`.
        std::fs::copy(&file, origin.folder().join(format!("{name}-cert"))).unwrap();
        let found = signed(&origin, &by_ssh(&certificate)).expect("it is signed");
        assert!(found.key_type.is_some_and(|kind| kind.ends_with(CERTIFICATE_SUFFIX)));
        assert_eq!(found.key.as_deref(), Some(&*printed(&certificate)), "{kind}");
    }
}

const CERTIFICATE_SUFFIX: &str = "-cert-v01@openssh.com";

#[test]
fn the_issuer_of_an_openpgp_signature_is_told_as_gpg_tells_it() {
    if Command::new("gpg").arg("--version").output().is_err() {
        return;
    }
    let origin = Origin::new();
    let make = ["--batch", "--passphrase", "", "--quick-generate-key", "Ada <ada@example.org>", "ed25519"];
    run(origin.folder(), "gpg", &make);
    let list = run(origin.folder(), "gpg", &["--list-keys", "--with-colons"]);
    let line = list.lines().find(|line| line.starts_with("fpr:")).expect("a fingerprint");
    let fingerprint = line.split(':').nth(9).expect("it is the tenth field");
    let found = signed(&origin, &[format!("user.signingKey={fingerprint}")]).expect("it is signed");
    run(origin.folder(), "gpgconf", &["--kill", "gpg-agent"]);
    let expected =
        Signature { format: SignatureFormat::OpenPgp, key_type: None, key: Some(fingerprint.into()) };
    assert_eq!(found, expected);
}

#[test]
fn a_commit_without_a_signature_has_none() {
    let origin = Origin::new();
    let revision = origin.commit("plain");
    let commit = Repository::discover(&origin.work()).unwrap().commit(&revision).unwrap();
    assert_eq!((commit.signature, &*commit.author, &*commit.committer), (None, "Ada", "Ada"));
}

/// An OpenPGP packet in armour.
fn pgp(packet: &[u8]) -> String {
    let body = STANDARD.encode(packet);
    format!("-----BEGIN PGP SIGNATURE-----\nVersion: x\n\n{body}\n=abcd\n-----END PGP SIGNATURE-----\n")
}

fn ssh(blob: &[u8]) -> String {
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----", STANDARD.encode(blob))
}

#[test]
fn old_and_damaged_signatures_are_read_as_far_as_they_go() {
    use SignatureFormat::{OpenPgp, Ssh, Unknown, X509};
    let check = |text: &str, format, key: Option<&str>| {
        let found = read(text.as_bytes());
        assert_eq!((found.format, found.key.as_deref()), (format, key), "{text:.80}");
    };
    let id = [1, 2, 3, 4, 5, 6, 7, 8];
    let version_3 = [&[0x88, 17, 3, 5, 0, 0, 0, 0, 0][..], &id, &[1, 8]].concat();
    check(&pgp(&version_3), OpenPgp, Some("0102030405060708"));
    let only_id = [&[0xc2, 16, 4, 0, 1, 8, 0, 0, 0, 10, 9, 16][..], &id].concat();
    check(&pgp(&only_id), OpenPgp, None);
    check(&pgp(&only_id[..only_id.len() - 4]), Unknown, None);
    let only_id = [&[0xc2, 18, 4, 0, 1, 8, 0, 0, 0, 10, 9, 0x90][..], &id].concat();
    check(&pgp(&only_id), OpenPgp, Some("0102030405060708"));
    check(&pgp(&[0xc2, 8, 4, 0, 1, 8, 0, 0, 0, 0]), OpenPgp, None);
    check(&pgp(&[0xc6, 8, 4, 0, 1, 8, 0, 0, 0, 0]), Unknown, None);
    check("-----BEGIN SIGNED MESSAGE-----\nMIIB\n-----END SIGNED MESSAGE-----\n", X509, None);
    check("-----BEGIN SSH SIGNATURE-----\n!\n-----END SSH SIGNATURE-----", Unknown, None);
    check("-----BEGIN SSH SIGNATURE-----", Unknown, None);
    check("", Unknown, None);
    check(&"x".repeat(MAX + 1), Unknown, None);
    let odd = b"SSHSIG\0\0\0\x01\0\0\0\x08\0\0\0\x04\x1b[2J".as_slice();
    check(&ssh(odd), Unknown, None);
    let unknown_certificate = b"SSHSIG\0\0\0\x01\0\0\0\x1a\0\0\0\x16x-cert-v01@openssh.com".as_slice();
    check(&ssh(unknown_certificate), Ssh, None);
    check(&ssh(b"SSHSIG\0\0\0\x01\xff\xff\xff\xff"), Unknown, None);
    let short = b"SSHSIG\0\0\0\x01\0\0\0\x0f\0\0\0\x0bssh-ed25519".as_slice();
    check(&ssh(short), Ssh, Some("SHA256:5/gdC8tsZ+1R7UnoiM4pMal9U3M82idPVzt95oIw3hQ"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_do_harm(blob in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..4u8) {
        let head: &[u8] = [&[][..], b"SSHSIG\0\0\0\x01\0\0\0", &[0xc2], &[0x88]][usize::from(kind)];
        let blob = [head, &blob].concat();
        for text in [ssh(&blob), pgp(&blob)] {
            let found = read(text.as_bytes());
            let printable = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
            prop_assert!(found.key.as_deref().is_none_or(printable) && found.key_type.as_deref().is_none_or(printable));
        }
        read(&blob);
    }
}
