# env SECURETAG_DATABASE__URL=mysql://root:s3cret@db/x
