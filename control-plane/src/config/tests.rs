//! What a settings file may say, and what is refused.

use super::*;

#[test]
fn what_is_saved_is_loaded_and_printed_without_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let mut config = Config::new(directory.path().to_owned());
    config.advertise = vec!["cp.example.net:8442,8443".parse().unwrap()];
    config.database.url = DatabaseUrl::new("postgres://fleet:hunter2@db.example/fleet".to_owned());
    config.save(&path).unwrap();
    assert_eq!(Config::load(&path, |_| None).unwrap(), config);
    for shown in [config.redacted(), format!("{config:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("db.example"), "{shown}");
    }
}

#[test]
fn variables_win_and_wrong_ones_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    Config::new(directory.path().to_owned())
        .save(&path)
        .unwrap();
    let config = Config::load(&path, |name| {
        (name == "SHOPFLEET_LISTEN_ADMIN").then(|| "0.0.0.0:7440".to_owned())
    })
    .unwrap();
    assert_eq!(config.listen.admin, "0.0.0.0:7440".parse().unwrap());
    let error = Config::load(&path, |name| {
        (name == "SHOPFLEET_PROVISION_DEADLINE").then(|| "soon".to_owned())
    })
    .unwrap_err();
    assert!(error.to_string().contains("SHOPFLEET_PROVISION_DEADLINE"));
}

#[test]
fn unknown_settings_and_newer_formats_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    Config::new(directory.path().to_owned())
        .save(&path)
        .unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("typo = 1\n{text}")).unwrap();
    assert!(matches!(
        Config::load(&path, |_| None),
        Err(ConfigError::Parse { .. })
    ));
    fs::write(&path, text.replace("format = 1", "format = 2")).unwrap();
    assert!(matches!(
        Config::load(&path, |_| None),
        Err(ConfigError::Format { found: 2 })
    ));
}

#[test]
fn advertised_addresses() {
    let plain: Advertised = "cp.example.net".parse().unwrap();
    assert_eq!(plain.enrolment(), "cp.example.net:7442");
    let v6: Advertised = "[2001:db8::1]:1,2".parse().unwrap();
    assert_eq!(
        (v6.enrolment().as_str(), v6.agents().as_str()),
        ("[2001:db8::1]:1", "[2001:db8::1]:2")
    );
    assert_eq!(v6.to_string().parse(), Ok(v6));
    for bad in ["", "host:7442", "host:0,1", "ho st", "[::1", "host:1,2,3"] {
        assert!(bad.parse::<Advertised>().is_err(), "{bad}");
    }
}
