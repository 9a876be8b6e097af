# env SECURETAG_SCAN__WEB__PLUGINS=secrets,zap
