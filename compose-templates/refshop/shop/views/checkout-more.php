<?php // Fields that a release asks for beside the address. ?>
